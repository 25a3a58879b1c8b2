import type { OptionDeclarations, OptionValues } from "../options/declaration.js";
import { parseArguments } from "../options/parse.js";
import type { Environment } from "../runtime/platform.js";

/** Where a subcommand reads from and writes to. */
export interface CommandIo {
  /** For answers to questions; by default this process's. */
  stdin?: NodeJS.ReadableStream;
  stdout: NodeJS.WritableStream & { isTTY?: boolean };
  /** For errors, warnings and progress bars. */
  stderr: NodeJS.WritableStream & { isTTY?: boolean };
  env: Environment;
  /** Fires at the first Ctrl-C or SIGTERM. */
  signal?: AbortSignal;
}

/** A subcommand of `ip2p`. */
export interface Command<T extends OptionDeclarations = OptionDeclarations> {
  name: string;
  /** One line, without a full stop. */
  summary: string;
  /** Paragraphs for its help, below the summary. */
  description?: readonly string[];
  /** Whole command lines for its help. */
  examples?: readonly string[];
  options: T;
  /** @throws `ERR_USAGE` for options that do not go together */
  check?(values: OptionValues<T>): void;
  /**
   * Separates the command's own arguments from those that it passes on; without it all are its own.
   *
   * @throws `ERR_USAGE` if what is to be passed on is missing
   */
  split?(argv: readonly string[]): { own: string[]; passedOn: string[] };
  /**
   * @param passedOn the arguments that `split` set aside; none without it
   * @returns the exit status.
   * @throws InstructPix2PixError for every failure; the caller prints it.
   */
  run(values: OptionValues<T>, io: CommandIo, passedOn: readonly string[]): Promise<number>;
}

/** Lets the types of a command's values follow from its declarations. */
export function defineCommand<const T extends OptionDeclarations>(command: Command<T>): AnyCommand & Command<T> {
  const execute: AnyCommand["execute"] = (argv, io) => {
    const { own, passedOn } = command.split?.(argv) ?? { own: argv, passedOn: [] };
    const values = parseArguments(command.options, own);
    command.check?.(values);
    return command.run(values, io, passedOn);
  };
  return { ...command, execute };
}

/** A subcommand whose options' types do not matter to the caller. */
export interface AnyCommand extends Pick<Command, "name" | "summary" | "description" | "examples" | "options"> {
  /**
   * Parses the arguments behind the command's name and runs it.
   *
   * @throws `ERR_USAGE`, and what `run` throws.
   */
  execute(argv: readonly string[], io: CommandIo): Promise<number>;
}

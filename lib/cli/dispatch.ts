import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { nearestName } from "../options/names.js";
import { packageVersion } from "../runtime/package-version.js";
import type { AnyCommand, CommandIo } from "./command.js";
import { COMMANDS, type CommandEntry } from "./commands.js";
import { describeFailure, statusOf } from "./failure.js";
import { commandHelp, overview } from "./help.js";

/**
 * Runs a whole command line, without the program's own name.
 *
 * @returns the exit status: 0, 1 for a failure, 2 if the command line itself is wrong; the reason is on `io.stderr`.
 */
export async function runCommandLine(
  argv: readonly string[],
  io: CommandIo,
  commands: readonly CommandEntry[] = COMMANDS,
): Promise<number> {
  let command: AnyCommand | undefined;
  try {
    const [name, ...rest] = argv;
    if (name === undefined) return print(io.stderr, overview(commands), 2);
    if (isHelp(name)) return print(io.stdout, overview(commands));
    if (name === "--version") return print(io.stdout, packageVersion());
    if (name === "help" && rest.length <= 1) return await runCommandLine([...rest, "--help"], io, commands);
    command = await find(name, commands);
    if (asksForHelp(rest)) return print(io.stdout, commandHelp(command, columnsOf(io.stdout)));
    return await command.execute(rest, io);
  } catch (error) {
    const verbose = argv.includes("--verbose");
    const where = command && isInstructPix2PixError(error, "ERR_USAGE") ? `${command.name}: ` : "";
    const text = isInstructPix2PixError(error, "ERR_ABORTED")
      ? cancelled(error, verbose)
      : describeFailure(error, verbose, command?.options);
    io.stderr.write(`ip2p: ${where}${text}\n`);
    return statusOf(error);
  }
}

function cancelled(error: InstructPix2PixError, verbose: boolean): string {
  const by = typeof error.cause === "string" ? ` (${error.cause})` : "";
  return verbose ? `cancelled${by}\n${error.stack}` : `cancelled${by}`;
}

async function find(name: string, commands: readonly CommandEntry[]): Promise<AnyCommand> {
  const entry = commands.find((candidate) => candidate.name === name);
  if (entry) return entry.load();
  const names = commands.map((candidate) => candidate.name);
  const nearest = nearestName(name, names);
  const what = name.startsWith("-") ? `the command comes first, before ${name}` : `unknown command "${name}"`;
  throw new InstructPix2PixError(
    "ERR_USAGE",
    `${what}; ${nearest ? `did you mean ${nearest}?` : `the commands are ${names.join(", ")}`}`,
  );
}

function print(stream: CommandIo["stdout"], text: string, status = 0): number {
  stream.write(`${text}\n`);
  return status;
}

function isHelp(argument: string): boolean {
  return argument === "--help" || argument === "-h";
}

function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? argv.length : end).some(isHelp);
}

function columnsOf(stream: CommandIo["stdout"]): number {
  const { columns } = stream as { columns?: number };
  return Math.min(100, columns && columns > 40 ? columns : 80);
}

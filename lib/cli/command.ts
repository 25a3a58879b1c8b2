import { type ParseArgsConfig, parseArgs } from "node:util";
import { InstructPix2PixError } from "../errors.js";
import type { Environment } from "../native/platform.js";

/** One option of a subcommand, declared once: parsing, help and documentation come from here. */
export interface OptionDeclaration {
  type: "string" | "boolean" | "integer" | "number";
  /** One line. */
  help: string;
  /** What stands for the value in the help, e.g. `DIR`. */
  value?: string;
  /** The only values allowed. */
  choices?: readonly string[];
  default?: string | boolean | number;
}

/** Options by their name in snake_case, the spelling of diffusers' scripts; kebab-case is accepted as well. */
export type OptionDeclarations = Readonly<Record<string, OptionDeclaration>>;

type ValueOf<D extends OptionDeclaration> = D["type"] extends "boolean"
  ? boolean
  : D["type"] extends "integer" | "number"
    ? number
    : D extends { choices: readonly (infer Choice)[] }
      ? Choice
      : string;

/** The values of parsed options: present if given or if there is a default; booleans are always present. */
export type OptionValues<T extends OptionDeclarations> = {
  [K in keyof T]: T[K] extends { default: string | boolean | number } | { type: "boolean" }
    ? ValueOf<T[K]>
    : ValueOf<T[K]> | undefined;
};

/** Where a subcommand reads from and writes to. */
export interface CommandIo {
  stdout: NodeJS.WritableStream & { isTTY?: boolean };
  stderr: NodeJS.WritableStream & { isTTY?: boolean };
  env: Environment;
  /** Fires at Ctrl-C. */
  signal?: AbortSignal;
}

/** A subcommand of `ip2p`. */
export interface Command<T extends OptionDeclarations = OptionDeclarations> {
  name: string;
  /** One line. */
  summary: string;
  options: T;
  /**
   * @returns the exit status.
   * @throws InstructPix2PixError for whatever goes wrong; the caller prints it.
   */
  run(values: OptionValues<T>, io: CommandIo): Promise<number>;
}

/** Lets the types of a command's values follow from its declarations. */
export function defineCommand<const T extends OptionDeclarations>(command: Command<T>): Command<T> {
  return command;
}

/**
 * Parses a subcommand's arguments.
 *
 * @throws `ERR_USAGE` naming the argument that is unknown, lacks its value or has an impossible one.
 */
export function parseOptions<T extends OptionDeclarations>(
  { name, options }: Pick<Command<T>, "name" | "options">,
  argv: readonly string[],
): OptionValues<T> {
  const usage = (message: string) => new InstructPix2PixError("ERR_USAGE", `ip2p ${name}: ${message}`);
  const config: ParseArgsConfig["options"] = {};
  for (const [key, { type }] of Object.entries(options))
    config[key] = { type: type === "boolean" ? "boolean" : "string" };
  let given: Record<string, unknown>;
  try {
    given = parseArgs({ args: argv.map(toSnakeCase), options: config, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw usage((error as Error).message.replace(/\. To specify[\s\S]*$/, "").replace(/\.$/, ""));
  }
  const values: Record<string, unknown> = {};
  for (const [key, declaration] of Object.entries(options)) {
    const text = given[key];
    if (text === undefined) values[key] = declaration.default ?? (declaration.type === "boolean" ? false : undefined);
    else values[key] = typeof text === "string" ? convert(key, text, declaration, usage) : text;
  }
  return values as OptionValues<T>;
}

/** `--output-dir=a-b` is `--output_dir=a-b`. */
function toSnakeCase(argument: string): string {
  const name = /^--[^=]+/.exec(argument)?.[0];
  return name ? `--${name.slice(2).replaceAll("-", "_")}${argument.slice(name.length)}` : argument;
}

function convert(
  key: string,
  text: string,
  { type, choices }: OptionDeclaration,
  usage: (message: string) => Error,
): string | number {
  if (choices && !choices.includes(text)) throw usage(`--${key} must be one of ${choices.join(", ")}, not "${text}"`);
  if (type === "string") return text;
  const number = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(number) || (type === "integer" && !Number.isSafeInteger(number)))
    throw usage(`--${key} takes a ${type === "integer" ? "whole number" : "number"}, not "${text}"`);
  return number;
}

/** The help text of a subcommand. */
export function describeCommand({ name, summary, options }: Pick<Command, "name" | "summary" | "options">): string {
  const rows = Object.entries(options).map(([key, option]) => {
    const value = option.choices?.join("|") ?? option.value ?? (option.type === "boolean" ? "" : option.type);
    const fallback = option.default === undefined || option.default === false ? "" : ` (default: ${option.default})`;
    return [`  --${key}${value ? ` ${value}` : ""}`, `${option.help}${fallback}`] as const;
  });
  const width = Math.min(40, Math.max(...rows.map(([left]) => left.length)));
  return [
    `ip2p ${name}: ${summary}`,
    "",
    ...rows.map(([left, right]) =>
      left.length > width ? `${left}\n${" ".repeat(width)}  ${right}` : `${left.padEnd(width)}  ${right}`,
    ),
  ].join("\n");
}

import { isInstructPix2PixError } from "../core/errors.js";
import type { OptionDeclarations } from "../options/declaration.js";
import type { CommandIo } from "./command.js";
import { describeFailure } from "./failure.js";

export interface JsonLinesOptions {
  progress: boolean;
  quiet: boolean;
}

/**
 * What every command prints for `--json`: one object per line on standard output, each with an `event` and names in
 * snake_case; the last one is `done` or `error`. Sizes are in bytes, times in seconds. `--quiet` leaves only the last
 * line, `--no_progress` omits progress events.
 */
export class JsonLines {
  readonly #options: JsonLinesOptions;
  readonly #stdout: CommandIo["stdout"];
  readonly #declarations: OptionDeclarations;

  /** @param declarations the command's options, whose flags stand in messages of errors */
  constructor(
    { progress, quiet }: JsonLinesOptions,
    { stdout }: Pick<CommandIo, "stdout">,
    declarations: OptionDeclarations,
  ) {
    this.#options = { progress, quiet };
    this.#stdout = stdout;
    this.#declarations = declarations;
  }

  event(name: string, fields: object): void {
    if (!this.#options.quiet) this.#write(name, fields);
  }

  /** A progress event. */
  progress(name: string, fields: object): void {
    if (this.#options.progress) this.event(name, fields);
  }

  done(fields: object): void {
    this.#write("done", fields);
  }

  failed(error: unknown): void {
    const code = isInstructPix2PixError(error) ? error.code : "ERR_INTERNAL";
    this.#write("error", { code, message: describeFailure(error, false, this.#declarations) });
  }

  #write(event: string, fields: object): void {
    this.#stdout.write(`${JSON.stringify({ event, ...fields }, (_, value) => jsonValue(value))}\n`);
  }
}

/** Integers beyond JavaScript's safe range become strings. */
function jsonValue(value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
}

/** Rounded to thousandths; null for unknown. */
export function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value * 1000) / 1000;
}

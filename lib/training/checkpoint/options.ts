import { InstructPix2PixError } from "../../core/errors.js";
import type { OptionDeclaration } from "../../options/declaration.js";
import { camelCase } from "../../options/names.js";
import type { OptionValue } from "../../options/value.js";

/** The parts of an option's declaration that affect recording. */
export type RecordedOption = Pick<OptionDeclaration, "type" | "default" | "secret" | "addresses" | "mayChange">;

/** Options by their names in snake_case. */
export type RecordedOptions = Readonly<Record<string, RecordedOption>>;

/** An option's value in JSON: null if missing without a default, a bigint as decimal digits. */
export type RecordedValue = string | number | boolean | null;

/** An option whose value differs from the checkpoint's. */
export interface ChangedOption {
  /** In snake_case. */
  readonly name: string;
  readonly saved: RecordedValue;
  readonly now: RecordedValue;
}

/**
 * The options of a run for recording, without secret ones.
 *
 * @param options by their names in camelCase, defaults filled in
 */
export function recordOptions(
  options: Readonly<Record<string, OptionValue | undefined>>,
  declarations: RecordedOptions,
): Record<string, RecordedValue> {
  const kept = Object.entries(declarations).filter(([, { secret }]) => !secret);
  return Object.fromEntries(kept.map(([name, option]) => [name, recorded(options[camelCase(name)], option)]));
}

/**
 * The changed options that affect the run's results. An option missing in the checkpoint (of an earlier version) had
 * its default; one that only the checkpoint has counts as changed if it was set.
 *
 * @param saved the result of {@link recordOptions} in the checkpoint
 * @param now its result for this run
 */
export function compareOptions(
  saved: Readonly<Record<string, RecordedValue>>,
  now: Readonly<Record<string, RecordedValue>>,
  declarations: RecordedOptions,
): ChangedOption[] {
  const changed: ChangedOption[] = [];
  for (const [name, option] of Object.entries(declarations)) {
    if (option.secret || option.mayChange) continue;
    // Checkpoints of earlier versions hold whole addresses.
    const before = Object.hasOwn(saved, name) ? withoutSecrets(saved[name]!, option) : recorded(undefined, option);
    const after = Object.hasOwn(now, name) ? now[name]! : recorded(undefined, option);
    if (before !== after) changed.push({ name, saved: before, now: after });
  }
  for (const [name, before] of Object.entries(saved))
    if (!Object.hasOwn(declarations, name) && before !== null && before !== false)
      changed.push({ name, saved: before, now: null });
  return changed;
}

/**
 * Throws if changed options would affect the results of a resumed run.
 *
 * @param checkpoint its folder, for the message
 * @throws `ERR_CONFIG` naming each such option with both values
 */
export function assertSameOptions(changed: readonly ChangedOption[], checkpoint: string): void {
  if (changed.length === 0) return;
  const list = changed
    .map(({ name, saved, now }) => `${camelCase(name)} was ${shown(saved)} and is ${shown(now)}`)
    .join("; ");
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `${checkpoint}: was made with other options: ${list}; give the same ones, or allowChangedOptions`,
  );
}

function recorded(value: OptionValue | undefined, option: RecordedOption): RecordedValue {
  const { type, default: fallback } = option;
  const known = value ?? fallback ?? (type === "boolean" ? false : null);
  if (typeof known === "bigint") return String(known);
  // What a function computes cannot be compared.
  if (typeof known === "function") return "a function";
  return withoutSecrets(typeof known === "object" && known !== null ? known.join() : known, option);
}

/** The value with http addresses without user and query. Not by `URL`, since braces may stand for several names. */
function withoutSecrets(value: RecordedValue, { addresses }: RecordedOption): RecordedValue {
  if (!addresses || typeof value !== "string") return value;
  const clean = (address: string) => address.replace(/^(https?:\/\/)(?:[^/@]*@)?([^?#]*).*$/is, "$1$2");
  return value.split("::").map(clean).join("::");
}

function shown(value: RecordedValue): string {
  return value === null ? "not given" : JSON.stringify(value);
}

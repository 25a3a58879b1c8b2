import { InstructPix2PixError } from "../../errors.js";
import type { OptionDeclaration } from "../../options/declaration.js";
import { camelCase } from "../../options/names.js";
import type { OptionValue } from "../../options/value.js";

/** What an option's declaration says about recording it. */
export interface RecordedOption extends Pick<OptionDeclaration, "type" | "default"> {
  /** It holds a key or a token: never written anywhere. */
  readonly secret?: true;
  /** Another value of it leaves the run's numbers as they are, so that a resumed run may have another. */
  readonly mayChange?: true;
}

/** Options by their names in snake_case. */
export type RecordedOptions = Readonly<Record<string, RecordedOption>>;

/** An option's value as JSON holds it: null if it was not given and has no default, a bigint as its decimal digits. */
export type RecordedValue = string | number | boolean | null;

/** An option that has not the value that a checkpoint was made with. */
export interface ChangedOption {
  /** In snake_case. */
  readonly name: string;
  readonly saved: RecordedValue;
  readonly now: RecordedValue;
}

/**
 * The options of a run as they may be written down: those that hold secrets are left out.
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
 * The options whose change since the checkpoint would change the run's numbers. An option that the checkpoint does not
 * know, for it was written by an earlier version, had its default then; one that only the checkpoint knows counts as
 * changed unless it was not given.
 *
 * @param saved what {@link recordOptions} returned when the checkpoint was made
 * @param now what it returns for this run
 */
export function compareOptions(
  saved: Readonly<Record<string, RecordedValue>>,
  now: Readonly<Record<string, RecordedValue>>,
  declarations: RecordedOptions,
): ChangedOption[] {
  const changed: ChangedOption[] = [];
  for (const [name, option] of Object.entries(declarations)) {
    if (option.secret || option.mayChange) continue;
    const before = Object.hasOwn(saved, name) ? saved[name]! : recorded(undefined, option);
    const after = Object.hasOwn(now, name) ? now[name]! : recorded(undefined, option);
    if (before !== after) changed.push({ name, saved: before, now: after });
  }
  for (const [name, before] of Object.entries(saved))
    if (!Object.hasOwn(declarations, name) && before !== null && before !== false)
      changed.push({ name, saved: before, now: null });
  return changed;
}

/**
 * Refuses to resume with options that would change the run's numbers.
 *
 * @param checkpoint its folder, for the message
 * @throws `ERR_CONFIG` naming each such option with both values
 */
export function assertSameOptions(changed: readonly ChangedOption[], checkpoint: string): void {
  if (changed.length === 0) return;
  const list = changed.map(({ name, saved, now }) => `--${name} was ${shown(saved)} and is ${shown(now)}`).join("; ");
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `${checkpoint}: was made with other options: ${list}; give the same ones, or --allow_changed_options`,
  );
}

function recorded(value: OptionValue | undefined, { type, default: fallback }: RecordedOption): RecordedValue {
  const known = value ?? fallback ?? (type === "boolean" ? false : null);
  return typeof known === "bigint" ? String(known) : known;
}

function shown(value: RecordedValue): string {
  return value === null ? "not given" : JSON.stringify(value);
}

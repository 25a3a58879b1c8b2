import { camelCase } from "../options/names.js";
import type { OptionValue } from "../options/value.js";
import type { RecordedOptions } from "../training/checkpoint/options.js";
import type { TrackedConfig, TrackedValues } from "./tracker.js";

/** Environment variables that hold keys or tokens of services that a run may talk to. */
const SECRET_VARIABLES = [
  "HF_TOKEN",
  "HUGGING_FACE_HUB_TOKEN",
  "HUGGINGFACE_HUB_TOKEN",
  "HF_API_TOKEN",
  "WANDB_API_KEY",
] as const;

/** Anything shorter would also be found in texts that have nothing to do with it. */
const SHORTEST = 6;
const HIDDEN = "***";

/** A token of the Hugging Face hub, wherever it comes from. */
const HUB_TOKEN = /hf_[A-Za-z0-9]{20,}/g;
/**
 * User name and password in an address: up to the last `@` of the host's part. A scheme before it is not looked for,
 * which would take quadratic time; here no two matches begin in one run of characters.
 */
const CREDENTIALS_IN_URL = /:\/\/[^\s/?#"']+@/g;

/**
 * Keeps keys and tokens out of whatever is written or sent: options that are declared secret are left out whatever they
 * hold, and the secrets' own text is replaced wherever it turns up, such as in a path, a caption or an error.
 */
export class Secrets {
  readonly #names: ReadonlySet<string>;
  readonly #values: string[] = [];

  /**
   * @param names of options that are secret, in snake_case
   * @param values that are secret
   */
  constructor(names: Iterable<string>, values: Iterable<string | undefined>) {
    this.#names = new Set(names);
    for (const value of values) this.add(value);
  }

  /** What is secret in a run: options declared so, and the environment variables that hold keys. */
  static of(
    options: Readonly<Record<string, OptionValue | undefined>>,
    declarations: RecordedOptions,
    env: Readonly<Record<string, string | undefined>> = process.env,
  ): Secrets {
    const names = Object.keys(declarations).filter((name) => declarations[name]!.secret);
    const given = names.map((name) => options[camelCase(name)]).filter((value) => typeof value === "string");
    return new Secrets(names, [...given, ...SECRET_VARIABLES.map((name) => env[name])]);
  }

  /** Adds a secret that became known later, such as a key read from a file. */
  add(value: string | undefined): void {
    const secret = value?.trim() ?? "";
    if (secret.length < SHORTEST || this.#values.includes(secret)) return;
    this.#values.push(secret);
    // A secret that holds another one has to go first, or its rest would stay.
    this.#values.sort((a, b) => b.length - a.length);
  }

  /** The text with `***` in place of secrets, of hub tokens whosoever they are, and of passwords in addresses. */
  redact(text: string): string {
    let clean = text;
    for (const secret of this.#values) {
      clean = clean.replaceAll(secret, HIDDEN);
      // As it appears in addresses.
      const encoded = encodeURIComponent(secret);
      if (encoded !== secret) clean = clean.replaceAll(encoded, HIDDEN);
    }
    return clean.replace(HUB_TOKEN, HIDDEN).replace(CREDENTIALS_IN_URL, `://${HIDDEN}@`);
  }

  /** The options of a run without the secret ones, and without secrets in the others. */
  filterConfig(config: TrackedConfig): TrackedConfig {
    return this.redactValues(Object.fromEntries(Object.entries(config).filter(([name]) => !this.#names.has(name))));
  }

  /** The values without secrets in their texts. */
  redactValues(values: TrackedValues): TrackedValues {
    const clean = (value: TrackedValues[string]) => (typeof value === "string" ? this.redact(value) : value);
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [this.redact(name), clean(value)]));
  }
}

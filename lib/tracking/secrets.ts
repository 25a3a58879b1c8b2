import { camelCase } from "../options/names.js";
import type { OptionValue } from "../options/value.js";
import type { RecordedOptions } from "../training/checkpoint/options.js";
import type { TrackedConfig, TrackedValues } from "./tracker.js";

/** Environment variables with keys or tokens of services that a run may use. */
const SECRET_VARIABLES = [
  "HF_TOKEN",
  "HUGGING_FACE_HUB_TOKEN",
  "HUGGINGFACE_HUB_TOKEN",
  "HF_API_TOKEN",
  "WANDB_API_KEY",
] as const;

/** Shorter values would match unrelated text. */
const SHORTEST = 6;
const HIDDEN = "***";

/** The pattern of Hugging Face hub tokens. */
const HUB_TOKEN = /hf_[A-Za-z0-9]{20,}/g;
/**
 * User name and password in a URL: up to the last `@` of the authority. The scheme is not part of the pattern, which
 * avoids quadratic time.
 */
const CREDENTIALS_IN_URL = /:\/\/[^\s/?#"']+@/g;

/**
 * Redacts keys and tokens from everything that is written or sent: options declared secret are omitted, and the
 * secrets' text is replaced wherever it occurs, such as in a path, a caption or an error.
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

  /** The secrets of a run: options declared secret, and environment variables with keys. */
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
    // Longer secrets are replaced first, since they may contain shorter ones.
    this.#values.sort((a, b) => b.length - a.length);
  }

  /** Replaces secrets, any hub tokens, and passwords in URLs by `***`. */
  redact(text: string): string {
    let clean = text;
    for (const secret of this.#values) {
      clean = clean.replaceAll(secret, HIDDEN);
      // The URL-encoded form.
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

import { inspect } from "node:util";
import { InstructPix2PixError } from "../core/errors.js";

/** A Hugging Face access token. It is only exposed as a request header, never in a message, a log or a dump. */
export class AccessToken {
  readonly #value: string;

  /** @throws `ERR_INVALID_ARGUMENT`, without the value, for characters that a header cannot hold */
  constructor(value: string, source: string) {
    if (!/^[\x21-\x7e]{1,4096}$/.test(value))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `the access token in ${source} holds characters that no token has (white space, control or non-ASCII ones)`,
      );
    this.#value = value;
  }

  authorization(): string {
    return `Bearer ${this.#value}`;
  }

  /** Redacts the token in a server's text. */
  redact(text: string): string {
    return text.replaceAll(this.#value, "[token]");
  }

  toString(): string {
    return "[token]";
  }

  toJSON(): string {
    return "[token]";
  }

  [inspect.custom](): string {
    return "[token]";
  }
}

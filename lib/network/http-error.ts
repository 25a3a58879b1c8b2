import type { Answer } from "./answer.js";

export type HttpProblem =
  /** No answer, one that broke off, or one that asks to try later: worth another attempt. */
  | "unreachable"
  /** A file was asked for, and the answer is an error. */
  | "status"
  | "redirect"
  /** More bytes than the limit. */
  | "size"
  /** A compression that was not asked for. */
  | "encoding"
  /** Not the content expected. */
  | "content"
  | "timeout";

/** A failure of the HTTP client. Neither the message nor the printed error holds the address, which may be secret. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly problem: HttpProblem;
  readonly #about: Answer | URL;

  /** @param about the answer, or the address that gave none */
  constructor(problem: HttpProblem, about: Answer | URL, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.problem = problem;
    this.#about = about;
  }

  get url(): URL {
    return this.answer?.url ?? (this.#about as URL);
  }

  get answer(): Answer | undefined {
    return "status" in this.#about ? this.#about : undefined;
  }
}

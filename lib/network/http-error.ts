import { failureName } from "./failure.js";

export type HttpProblem =
  /** No answer, one that broke off, or one that asks to try later. */
  | "unreachable"
  /** An answer that is not a success, of a download to a file. */
  | "status"
  | "redirect"
  /** More bytes than the limit. */
  | "size"
  /** A compression that was not asked for. */
  | "encoding"
  /** Not the content expected. */
  | "content"
  | "timeout";

/** What is known of an answer apart from its body. */
export interface AnswerHead {
  /** The address that answered, after redirects. */
  readonly url: URL;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
}

/**
 * A failure of {@link HttpClient}. The message does not name the address, which may hold secrets; address and answer
 * are not shown when the error is printed.
 */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly problem: HttpProblem;
  readonly #url: URL;
  readonly #answer: AnswerHead | undefined;

  constructor(problem: HttpProblem, url: URL, message: string, more: { cause?: unknown; answer?: AnswerHead } = {}) {
    super(message, "cause" in more ? { cause: more.cause } : undefined);
    this.problem = problem;
    this.#url = url;
    this.#answer = more.answer;
  }

  /** The error for a failed connection. */
  static unreachable(url: URL, what: string, cause: unknown): HttpError {
    return new HttpError("unreachable", url, `${what} (${failureName(cause)})`, { cause });
  }

  /** The error for an answer that may be another one later. */
  static passing(answer: AnswerHead): HttpError {
    return new HttpError("unreachable", answer.url, `the server answered ${answer.status}`, { answer });
  }

  get url(): URL {
    return this.#url;
  }

  get answer(): AnswerHead | undefined {
    return this.#answer;
  }
}

import type { Response } from "undici";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { HubError } from "./errors.js";
import type { ReadingObserver } from "./upload-file.js";

/** Time without any request or file read in progress. */
const GIVE_UP_AFTER_MS = 20_000;

/**
 * Detects failures of an upload at their source, since after some of them the hub's client hangs or throws a misleading
 * error.
 */
export class UploadWatch implements ReadingObserver {
  /** Never resolves. */
  readonly failure: Promise<never>;
  #fail: (error: unknown) => void = () => {};
  #requests = 0;
  #lastSign = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;

  constructor(page: string, signal: AbortSignal | undefined, giveUpAfter = GIVE_UP_AFTER_MS) {
    this.failure = new Promise<never>((_, reject) => {
      this.#fail = reject;
    });
    this.failure.catch(() => {});
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#timer = setInterval(() => {
      if (this.#requests === 0 && performance.now() - this.#lastSign > giveUpAfter)
        this.failed(new HubError("refused", `${page}: the hub's answer is not understood`));
    }, giveUpAfter / 4);
  }

  /** Ends the watch. */
  end(): void {
    clearInterval(this.#timer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  read(): void {
    this.#lastSign = performance.now();
  }

  failed(error: unknown): void {
    this.#fail(error);
  }

  async request(work: () => Promise<Response>): Promise<Response> {
    this.#requests++;
    try {
      return await work();
    } catch (error) {
      this.failed(error);
      throw error;
    } finally {
      this.#requests--;
      this.read();
    }
  }

  readonly #onAbort = (): void => {
    try {
      throwIfAborted(this.#signal);
    } catch (error) {
      this.failed(error);
    }
  };
}

/**
 * Throws for per-file errors in a git LFS batch response, such as an exceeded quota.
 *
 * @throws `ERR_HUB`
 */
export async function assertBatchAccepted(response: Response, page: string, clean: (words: string) => string) {
  const { objects } = (await response.clone().json()) as {
    objects?: { error?: { code?: unknown; message?: unknown } }[];
  };
  const error = objects?.find((object) => object?.error)?.error;
  if (error)
    throw new InstructPix2PixError(
      "ERR_HUB",
      `${page}: the hub does not take a large file (${Number(error.code)}: ${clean(String(error.message))})`,
    );
}

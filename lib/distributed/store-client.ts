import { InstructPix2PixError } from "../core/errors.js";
import type { NativeStore } from "../runtime/contract/index.js";
import { cancellable, native } from "../runtime/native.js";
import type { Place } from "./place.js";

/** The processes' store, under one run's prefix. */
export class StoreClient {
  readonly #handle: NativeStore;
  readonly #prefix: string;

  private constructor(handle: NativeStore, prefix: string) {
    this.#handle = handle;
    this.#prefix = prefix;
  }

  /**
   * @param heartbeats whether its calls must not wait for those of another connection
   * @throws `ERR_DISTRIBUTED` naming the address, also after `timeoutMs` without an answer
   */
  static async open(place: Place, timeoutMs: number, heartbeats: boolean): Promise<StoreClient> {
    const { masterHost, masterPort, attempt, rank, launcherServes } = place;
    const serves = rank === 0 && !launcherServes && !heartbeats;
    const handle = await native().openStore(masterHost, masterPort, serves, timeoutMs, heartbeats);
    return new StoreClient(handle, `ip2p/${attempt}/`);
  }

  get handle(): NativeStore {
    return this.#handle;
  }

  set(key: string, text: string): Promise<void> {
    return native().storeSet(this.#handle, this.#prefix + key, text);
  }

  /** Undefined if it is not set within the time. */
  async get(key: string, timeoutMs: number, signal?: AbortSignal): Promise<string | undefined> {
    const text = await cancellable(signal, (token) =>
      native().storeGet(this.#handle, this.#prefix + key, timeoutMs, token),
    );
    return text ?? undefined;
  }

  /** Waits for it without an end. */
  async wait(key: string, signal?: AbortSignal): Promise<string> {
    for (;;) {
      const text = await this.get(key, WAIT_MS, signal);
      if (text !== undefined) return text;
    }
  }

  add(key: string, number: number): Promise<number> {
    return native().storeAdd(this.#handle, this.#prefix + key, number);
  }

  remove(key: string): Promise<void> {
    return native().storeRemove(this.#handle, this.#prefix + key);
  }

  dispose(): void {
    this.#handle.dispose();
  }
}

const WAIT_MS = 60_000;

/** An error of the process group. */
export function groupError(message: string, cause?: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_DISTRIBUTED", message, { cause });
}

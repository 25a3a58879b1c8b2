import { type InstructPix2PixError, isInstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { sleep } from "../core/sleep.js";
import { Tensor } from "../core/tensor.js";
import type { NativeProcessGroup } from "../runtime/contract/index.js";
import { cancellable, native } from "../runtime/native.js";
import { errorOf, type Failure, failureOf, parseFailure, storeGone } from "./failure.js";
import { FAILURE, Heartbeat } from "./heartbeat.js";
import { type Member, meet } from "./members.js";
import { checkNetwork } from "./network.js";
import type { Place } from "./place.js";
import type { ProcessGroup, Standing } from "./process-group.js";
import type { RankStatus } from "./rank-status.js";
import { groupError, StoreClient } from "./store-client.js";

export interface ConnectOptions {
  /** After which a process that gives no sign of life is lost, and an exchange has failed. */
  timeoutMs: number;
  /** Gives up waiting for the others. */
  signal?: AbortSignal | undefined;
  /** Where this process computes: its tensors there are exchanged as well. Default "cpu". */
  device?: string | undefined;
  /** Called with the step that is being made, and with the failure of another process. */
  onStatus?: ((status: RankStatus) => void) | undefined;
}

/** What several processes have said, in one number of the store: 10 bits each. */
const BITS = 2 ** 10;
const [ARRIVED, STOPS, HAS_SAMPLES, FAILED] = [1, BITS, BITS ** 2, BITS ** 3] as const;

/** How long an exchange of tensors may go on after another process has told that it failed. */
const GRACE_MS = 5_000;
/** How long the last one waits for the others to leave. */
const LEAVE_MS = 5_000;

/** One of several processes, connected with the others by c10d's store and Gloo. */
export class ConnectedGroup implements ProcessGroup {
  readonly rank: number;
  readonly size: number;
  readonly #place: Place;
  readonly #members: readonly Member[];
  readonly #store: StoreClient;
  /** For short operations, which do not wait for those of the other one. */
  readonly #pulse: StoreClient;
  readonly #heartbeat: Heartbeat;
  readonly #timeoutMs: number;
  readonly #onStatus: ConnectOptions["onStatus"];
  /** Ends exchanges of tensors. */
  readonly #exchanges = new AbortController();
  /** Ends waits for others. */
  readonly #waits = new AbortController();
  #native: NativeProcessGroup | null = null;
  #error: InstructPix2PixError | undefined;
  #whole = true;
  #failed = false;
  #step = 0;
  #agreements = 0;
  #shared = 0;

  private constructor(
    place: Place,
    members: readonly Member[],
    store: StoreClient,
    pulse: StoreClient,
    { timeoutMs, onStatus }: ConnectOptions,
  ) {
    this.rank = place.rank;
    this.size = place.size;
    this.#place = place;
    this.#members = members;
    this.#store = store;
    this.#pulse = pulse;
    this.#timeoutMs = timeoutMs;
    this.#onStatus = onStatus;
    this.#heartbeat = new Heartbeat(pulse, {
      rank: place.rank,
      members,
      storePlace: `${place.masterHost} port ${place.masterPort}`,
      timeoutMs,
      onFailure: (failure) => this.#hear(failure),
    });
  }

  /**
   * Meets the others.
   *
   * @throws `ERR_DISTRIBUTED` naming the address that cannot be reached, the ranks that have not come, or the interface; `ERR_ABORTED`
   */
  static async connect(place: Place, options: ConnectOptions): Promise<ConnectedGroup> {
    const { timeoutMs, signal } = options;
    const opened: StoreClient[] = [];
    const open = async (heartbeats: boolean) => {
      const store = await unlessAborted(StoreClient.open(place, timeoutMs, heartbeats), signal);
      opened.push(store);
      return store;
    };
    let group: ConnectedGroup;
    try {
      const store = await open(false);
      const pulse = await open(true);
      const members = await meet(store, place, timeoutMs, signal);
      group = new ConnectedGroup(place, members, store, pulse, options);
    } catch (error) {
      for (const store of opened) store.dispose();
      throw error;
    }
    try {
      await group.#join(signal, options.device ?? "cpu");
      return group;
    } catch (error) {
      await group.fail(error);
      await group.close();
      throw error;
    }
  }

  get localRank(): number {
    return this.#place.localRank;
  }

  get isMain(): boolean {
    return this.rank === 0;
  }

  get native(): NativeProcessGroup | null {
    return this.#native;
  }

  get signal(): AbortSignal {
    return this.#exchanges.signal;
  }

  get isWhole(): boolean {
    return this.#whole;
  }

  async agree({ stops, hasSamples }: Standing): Promise<Standing> {
    const total = await this.#arrive(ARRIVED + (stops ? STOPS : 0) + (hasSamples ? HAS_SAMPLES : 0));
    if (countOf(total, FAILED) > 0) {
      this.#hear(parseFailure(await this.#store.wait(FAILURE)));
      throw this.#error;
    }
    return { stops: countOf(total, STOPS) > 0, hasSamples: countOf(total, HAS_SAMPLES) > 0 };
  }

  async share<T>(value: () => Promise<T>): Promise<T> {
    const key = `shared/${this.#shared++}`;
    if (!this.isMain) return JSON.parse(await this.#waiting((signal) => this.#store.wait(key, signal))) as T;
    const mine = await value();
    await this.#store.set(key, JSON.stringify(mine));
    return mine;
  }

  async gather(name: string, text: string, timeoutMs?: number): Promise<string[] | undefined> {
    const key = (rank: number) => `gathered/${name}/${rank}`;
    if (!this.isMain) {
      await this.#store.set(key(this.rank), text);
      return undefined;
    }
    const all = [text];
    for (let other = 1; other < this.size; other++) {
      const theirs =
        timeoutMs === undefined
          ? await this.#waiting((signal) => this.#store.wait(key(other), signal))
          : await this.#store.get(key(other), timeoutMs);
      if (theirs === undefined)
        throw groupError(`rank ${other} (${this.#members[other]!.host}) did not send its ${name}`);
      all.push(theirs);
      await this.#store.remove(key(other));
    }
    return all;
  }

  async sum(values: readonly number[]): Promise<number[]> {
    using tensor = Tensor.from(Float64Array.from(values), [values.length]);
    const group = this.#native!;
    await this.exchange(() =>
      cancellable(this.#exchanges.signal, (token) => native().groupSum(group, tensor.handle, token)),
    );
    return Array.from(await tensor.toArray(), Number);
  }

  async exchange<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (this.#exchanges.signal.aborted) throw this.#error ?? error;
      if (!isInstructPix2PixError(error, "ERR_DISTRIBUTED")) throw error;
      const found = await unlessAborted(this.#heartbeat.findLost(), this.#waits.signal).catch((gone: Error) =>
        this.#storeGone(gone),
      );
      if (found) this.#hear(found);
      this.#whole = false;
      throw this.#error ?? error;
    }
  }

  reached(step: number): void {
    this.#step = step;
    this.#heartbeat.step = step;
    this.#onStatus?.({ step });
  }

  async fail(error: unknown): Promise<void> {
    if (this.#failed) return;
    this.#failed = true;
    if (this.#error) return;
    const { rank } = this;
    const failure = failureOf(error, { rank, host: this.#place.host, step: this.#step });
    try {
      // The first failure is the cause of the others.
      const store = this.#pulse;
      if ((await store.get(FAILURE, 0)) === undefined) await store.set(FAILURE, JSON.stringify(failure));
      await this.#count(ARRIVED + FAILED, store);
    } catch {
      // Nobody is left to be told.
    }
  }

  async close(): Promise<void> {
    this.#heartbeat.stop();
    if (this.#whole) {
      try {
        await this.#pulse.add("left", 1);
        // Others may still be reading from the store that this process serves.
        const end = performance.now() + LEAVE_MS;
        while (this.isMain && (await this.#pulse.add("left", 0)) < this.size && performance.now() < end)
          await sleep(20);
      } catch {
        // The store has gone before.
      }
    }
    this.#native?.dispose();
    this.#pulse.dispose();
    this.#store.dispose();
  }

  /** Connects with all others, so that tensors can be exchanged. */
  async #join(signal: AbortSignal | undefined, device: string): Promise<void> {
    const listening = await checkNetwork(this.#place.host, this.#members);
    if (this.#error) throw this.#error;
    // Gloo tries for longer.
    const late = AbortSignal.timeout(this.#timeoutMs);
    try {
      const joined = native().openProcessGroup(
        ...([this.#store.handle, `ip2p/${this.#place.attempt}/group`, this.rank, this.size] as const),
        ...([this.#timeoutMs, device] as const),
      );
      this.#native = await unlessAborted(
        joined,
        AbortSignal.any([late, this.#waits.signal, ...(signal ? [signal] : [])]),
      );
    } catch (error) {
      if (this.#error) throw this.#error;
      const isGloos = device === "cpu" && isInstructPix2PixError(error, "ERR_DISTRIBUTED");
      if (!late.aborted && !isGloos) throw error;
      throw groupError(
        `${this.#place.host}, which listens at ${listening}, and the other processes cannot reach one another; GLOO_SOCKET_IFNAME names the network interface to use`,
        error,
      );
    }
  }

  /** Counts this process in, and waits for all. → the sum of what they brought */
  async #arrive(mine: number): Promise<number> {
    const key = `agreement/${this.#agreements}`;
    const total = await this.#waiting(() => this.#count(mine));
    if (total !== undefined) return total;
    return Number(await this.#waiting((signal) => this.#store.wait(`${key}/all`, signal)));
  }

  /** → the sum, if this process is the last one */
  async #count(mine: number, store = this.#store): Promise<number | undefined> {
    const number = this.#agreements++;
    const key = `agreement/${number}`;
    const total = await store.add(key, mine);
    if (countOf(total, ARRIVED) < this.size) return undefined;
    await store.set(`${key}/all`, String(total));
    // All have read the one before.
    if (number > 0)
      for (const old of [`agreement/${number - 1}`, `agreement/${number - 1}/all`]) await store.remove(old);
    return total;
  }

  /** Waits for others unless one of them fails. */
  async #waiting<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.#waits;
    if (this.#error) throw this.#error;
    try {
      return await unlessAborted(work(signal), signal);
    } catch (error) {
      if (this.#error) throw this.#error;
      if (isInstructPix2PixError(error, "ERR_DISTRIBUTED")) {
        this.#hear(this.#storeGone(error));
        // Rank 0 is not told that it has gone itself.
        throw this.#error ?? error;
      }
      throw error;
    }
  }

  #storeGone({ message }: Error): Failure {
    return storeGone({ host: this.#members[0]!.host, step: this.#step }, message);
  }

  /** Takes note of the first failure of another process. */
  #hear(failure: Failure): void {
    if (this.#error || failure.rank === this.rank) return;
    this.#error = errorOf(failure);
    if (failure.code === null) this.#whole = false;
    this.#onStatus?.({ step: this.#step, victimOf: failure.rank, isSilent: failure.isSilent });
    this.#heartbeat.stop();
    this.#waits.abort(this.#error);
    // Who fails in good order does so between exchanges, so that one that is under way completes.
    const delay = failure.code === null ? 0 : GRACE_MS;
    setTimeout(() => this.#exchanges.abort(this.#error), delay).unref();
  }
}

function countOf(total: number, unit: number): number {
  return Math.floor(total / unit) % BITS;
}

/** Does not wait any more once the signal fires, whatever becomes of the work. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let onAbort: () => void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      try {
        throwIfAborted(signal);
      } catch (error) {
        reject(error);
      }
    };
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort!);
    work.catch(() => {});
  }
}

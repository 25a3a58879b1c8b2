import { sleep } from "../core/sleep.js";
import { type Failure, parseFailure, silent, storeGone } from "./failure.js";
import type { Member } from "./members.js";
import type { StoreClient } from "./store-client.js";

/** The key that the first failure is written to. */
export const FAILURE = "failure";

/** Another process's heartbeat, and when this one saw it change. */
interface Pulse {
  beats: number;
  step: number;
  at: number;
}

export interface HeartbeatOptions {
  rank: number;
  members: readonly Member[];
  /** Where the store is, for messages. */
  storePlace: string;
  /** A process that has not given a sign for so long is lost. */
  timeoutMs: number;
  /** Called once, with the first failure of another process. */
  onFailure(failure: Failure): void;
}

/**
 * Signs of life. Every process writes its own to the store and looks whether one has failed; rank 0 watches all others, and they
 * watch rank 0.
 */
export class Heartbeat {
  readonly #store: StoreClient;
  readonly #options: HeartbeatOptions;
  readonly #interval: number;
  readonly #pulses = new Map<number, Pulse>();
  #timer: NodeJS.Timeout | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #beats = 0;
  #step = 0;
  #ended = false;

  constructor(store: StoreClient, options: HeartbeatOptions) {
    this.#store = store;
    this.#options = options;
    this.#interval = Math.min(1000, options.timeoutMs / 5);
    this.#schedule(0);
  }

  set step(step: number) {
    this.#step = step;
  }

  /** Ends it, without waiting for what is under way. */
  stop(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
  }

  /**
   * Which process has gone, after an exchange has failed.
   *
   * @returns the failure that was told, or those of processes that are silent; undefined if all give signs of life
   */
  async findLost(): Promise<Failure | undefined> {
    const told = await this.#store.get(FAILURE, 0);
    if (told !== undefined) return parseFailure(told);
    const before = await this.#readAll();
    await sleep(3 * this.#interval);
    const since = await this.#store.get(FAILURE, 0);
    if (since !== undefined) return parseFailure(since);
    const after = await this.#readAll();
    const quiet = [...after.keys()].filter((rank) => after.get(rank)!.beats === before.get(rank)!.beats);
    if (quiet.length === 0) return undefined;
    const failure = this.#silent(
      quiet[0]!,
      "has gone without a word (killed, or its host is gone)",
      after.get(quiet[0]!)!.step,
    );
    await this.#store.set(FAILURE, JSON.stringify(failure));
    return failure;
  }

  #silent(rank: number, message: string, step: number): Failure {
    return silent({ rank, host: this.#options.members[rank]!.host, step }, message);
  }

  #schedule(delay: number): void {
    this.#timer = setTimeout(() => this.#beat(), delay);
    // It must not keep the process alive.
    this.#timer.unref();
  }

  #beat(): void {
    const { timeoutMs, storePlace, members } = this.#options;
    const step = () => this.#pulses.get(0)?.step ?? 0;
    // An exchange with a store that hangs never ends.
    this.#watchdog = setTimeout(
      () => this.#fail(this.#silent(0, `does not answer, and with it the processes' store on ${storePlace}`, step())),
      timeoutMs,
    );
    this.#watchdog.unref();
    this.#exchange().then(
      () => {
        clearTimeout(this.#watchdog);
        if (!this.#ended) this.#schedule(this.#interval);
      },
      ({ message }: Error) => {
        clearTimeout(this.#watchdog);
        this.#fail(storeGone({ host: members[0]!.host, step: step() }, message));
      },
    );
  }

  async #exchange(): Promise<void> {
    const { rank, members, timeoutMs } = this.#options;
    await this.#store.set(keyOf(rank), JSON.stringify([++this.#beats, this.#step]));
    const told = await this.#store.get(FAILURE, 0);
    if (told !== undefined) return this.#fail(parseFailure(told));
    for (const other of rank === 0 ? members.keys() : [0]) {
      if (other === rank) continue;
      const [beats, step] = await this.#read(other);
      const pulse = this.#pulses.get(other);
      const now = performance.now();
      if (pulse?.beats !== beats) this.#pulses.set(other, { beats, step, at: now });
      else if (now - pulse.at > timeoutMs) {
        const failure = this.#silent(
          other,
          `has not answered for ${Math.round(timeoutMs / 1000)} s (it hangs, was stopped, or its host is gone)`,
          step,
        );
        await this.#store.set(FAILURE, JSON.stringify(failure));
        return this.#fail(failure);
      }
    }
  }

  async #readAll(): Promise<Map<number, { beats: number; step: number }>> {
    const all = new Map<number, { beats: number; step: number }>();
    for (const other of this.#options.members.keys()) {
      if (other === this.#options.rank) continue;
      const [beats, step] = await this.#read(other);
      all.set(other, { beats, step });
    }
    return all;
  }

  async #read(rank: number): Promise<[beats: number, step: number]> {
    const text = await this.#store.get(keyOf(rank), 0);
    return text === undefined ? [0, 0] : (JSON.parse(text) as [number, number]);
  }

  #fail(failure: Failure): void {
    if (this.#ended || failure.rank === this.#options.rank) return;
    this.stop();
    this.#options.onFailure(failure);
  }
}

function keyOf(rank: number): string {
  return `heartbeat/${rank}`;
}

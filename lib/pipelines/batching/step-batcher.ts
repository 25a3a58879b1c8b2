import { abortedBy, isInstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import type { Tensor } from "../../core/tensor.js";
import type { UNet2DConditionModel } from "../../models/unet_2d_condition.js";

import { bytesOf } from "../check-memory.js";
import { unetMemory } from "../footprint.js";
import { memoryOn } from "../free-memory.js";
import { JointPass, kindOf, rowsOf, type StepCall } from "./joint-pass.js";

/** A pass that computed steps of several runs. */
export interface JointPassInfo {
  /** Runs that took part. */
  runs: number;
  /** Rows of the batch, those of guidance included. */
  rows: number;
}

/** How steps of runs are computed together. */
export interface StepBatchingOptions {
  /** Rows of a pass at most, those of guidance included: an edit of one image has up to three. Default 24. */
  maxRows?: number;
  /** Told of every pass. */
  onPass?: (pass: JointPassInfo) => void;
}

export const DEFAULT_MAX_ROWS = 24;

/** Of the memory that is free, the share that a pass may take. */
const SHARE = 0.8;

const batchers = new WeakMap<UNet2DConditionModel, StepBatcher>();

/** The batcher of a UNet, which all pipelines share that share the UNet; undefined if its runs are computed one by one. */
export function batcherOf(unet: UNet2DConditionModel | undefined): StepBatcher | undefined {
  return unet && batchers.get(unet);
}

/** @param options undefined: runs are computed one by one from now on; those in progress finish together */
export function setBatching(unet: UNet2DConditionModel, options: Required<StepBatchingOptions> | undefined): void {
  if (options) batchers.set(unet, new StepBatcher(unet, options));
  else batchers.delete(unet);
}

/** A call that waits for its pass, or is in it. */
interface Waiting {
  seat: StepSeat;
  call: StepCall;
  kind: string | undefined;
  done(prediction: Tensor): void;
  failed(error: unknown): void;
}

/**
 * Computes the steps of concurrent runs in common passes through their UNet, though each is at a timestep of its own. Runs
 * join and leave between passes; a pass takes those first that have waited longest, so none is overtaken for ever.
 */
export class StepBatcher {
  readonly #unet: UNet2DConditionModel;
  readonly #options: Required<StepBatchingOptions>;
  readonly #seats = new Set<StepSeat>();
  /** In the order of their arrival. */
  readonly #waiting = new Set<Waiting>();
  /** Rows that memory did not hold. */
  #tooMany = Number.POSITIVE_INFINITY;
  #flying = false;
  #last: JointPass | undefined;

  constructor(unet: UNet2DConditionModel, options: Required<StepBatchingOptions>) {
    this.#unet = unet;
    this.#options = options;
  }

  /** A place for a run, from its first step to its last. */
  join(): StepSeat {
    const seat: StepSeat = new StepSeat({
      call: (call) => this.#call(seat, call),
      changed: () => this.#next(),
      leave: () => this.#leave(seat),
    });
    this.#seats.add(seat);
    return seat;
  }

  #leave(seat: StepSeat): void {
    this.#seats.delete(seat);
    if (this.#seats.size === 0) this.#forget();
    this.#next();
  }

  #forget(): void {
    if (this.#flying) return;
    this.#last?.[Symbol.dispose]();
    this.#last = undefined;
  }

  #call(seat: StepSeat, call: StepCall): Promise<Tensor> {
    const { signal } = call.options;
    return new Promise<Tensor>((resolve, reject) => {
      let open = true;
      const settle = (end: () => void) => {
        if (!open) return false;
        open = false;
        // Before the next pass is considered, which may be worth waiting for this run.
        seat.state = "between";
        signal?.removeEventListener("abort", giveUp);
        end();
        return true;
      };
      const waiting: Waiting = {
        ...{ seat, call, kind: kindOf(call) },
        done: (prediction) => {
          if (!settle(() => resolve(prediction))) prediction.dispose();
        },
        failed: (error) => settle(() => reject(error)),
      };
      // The pass goes on for the others.
      const giveUp = () => {
        this.#waiting.delete(waiting);
        settle(() => reject(abortedBy(signal!)));
        this.#next();
      };
      seat.kind = waiting.kind;
      this.#waiting.add(waiting);
      signal?.addEventListener("abort", giveUp, { once: true });
      this.#next();
    });
  }

  /** Begins the next pass, unless it is worth waiting for a run that is between two steps. */
  #next(): void {
    const [first] = this.#waiting;
    if (this.#flying || !first) return;
    const { kind } = first;
    const alike = [...this.#waiting].filter((each) => each.kind === kind);
    const isFull = kind === undefined || sumOfRows(alike) >= this.#most;
    const coming = (seat: StepSeat) => seat.state === "between" && (seat.kind === NEW || seat.kind === kind);
    if (!isFull && [...this.#seats].some(coming)) return;
    this.#flying = true;
    void this.#fly(kind === undefined ? [first] : alike).finally(() => {
      this.#flying = false;
      if (this.#seats.size === 0) this.#forget();
      this.#next();
    });
  }

  get #most(): number {
    return Math.min(this.#options.maxRows, this.#tooMany - 1);
  }

  async #fly(candidates: readonly Waiting[]): Promise<void> {
    const together = await this.#thatFit(candidates);
    if (together.length === 0) return;
    for (const each of together) this.#waiting.delete(each);
    const rows = sumOfRows(together);
    this.#options.onPass({ runs: together.length, rows });
    if (together.length === 1) return await this.#alone(together[0]!);
    const over = allAborted(together.map(({ call }) => call.options.signal));
    try {
      const calls = together.map(({ call }) => call);
      if (!this.#last?.suits(calls)) {
        this.#last?.[Symbol.dispose]();
        this.#last = undefined;
        this.#last = await JointPass.create(calls);
      }
      const predictions = await this.#last.predict(this.#unet, calls, over.signal);
      for (const [i, { done }] of together.entries()) done(predictions[i]!);
    } catch (error) {
      if (isInstructPix2PixError(error, "ERR_OUT_OF_MEMORY")) this.#tooMany = rows;
      // One of them may be to blame: the others must not suffer for it.
      for (const each of together) await this.#alone(each);
    } finally {
      over.stop();
    }
  }

  /** Computes a call as if there were no others. */
  async #alone({ call, done, failed }: Waiting): Promise<void> {
    try {
      throwIfAborted(call.options.signal);
      done(await this.#unet.forward(call.sample, call.timestep, call.text, call.options));
    } catch (error) {
      failed(error);
    }
  }

  /** As many as a pass may have, from the first. */
  async #thatFit(candidates: readonly Waiting[]): Promise<Waiting[]> {
    const [first] = candidates;
    const { config, device } = this.#unet;
    const [, , height, width] = first!.call.sample.shape as [number, number, number, number];
    const each = unetMemory(config, { height, width }, { rows: 1, bytes: bytesOf(this.#unet) });
    const free = candidates.length > 1 ? await memoryOn(device, each * sumOfRows(candidates)) : 0;
    // Some may have been given up meanwhile.
    const present = candidates.filter((one) => this.#waiting.has(one));
    const most = Math.min(this.#most, Math.floor((SHARE * free) / each));
    let rows = 0;
    return present.filter(({ call }, i) => (rows += rowsOf(call)) <= most || i === 0);
  }
}

/** The kind of a run that has not called yet. */
const NEW = Symbol("new");

interface Batcher {
  call(call: StepCall): Promise<Tensor>;
  changed(): void;
  leave(): void;
}

/** A run's place among those whose steps are computed together. */
export class StepSeat implements Disposable {
  readonly #batcher: Batcher;
  /** What it is at: between two calls, in one, or busy with something that others should not wait for. */
  state: "between" | "calling" | "away" = "between";
  /** The kind of its last call. */
  kind: string | undefined | typeof NEW = NEW;

  constructor(batcher: Batcher) {
    this.#batcher = batcher;
  }

  /** The UNet's prediction for a step. @throws as `UNet2DConditionModel.forward` */
  async forward(
    sample: Tensor,
    timestep: number,
    text: Tensor | null,
    options: StepCall["options"] = {},
  ): Promise<Tensor> {
    throwIfAborted(options.signal);
    this.state = "calling";
    return await this.#batcher.call({ sample, timestep, text, options });
  }

  /** Does something that may take long; other runs do not wait for this one meanwhile. */
  async away<T>(work: () => Promise<T>): Promise<T> {
    this.state = "away";
    this.#batcher.changed();
    try {
      return await work();
    } finally {
      this.state = "between";
    }
  }

  [Symbol.dispose](): void {
    this.#batcher.leave();
  }
}

function sumOfRows(all: readonly Waiting[]): number {
  return all.reduce((sum, { call }) => sum + rowsOf(call), 0);
}

/** Fires when all signals have fired. */
function allAborted(signals: readonly (AbortSignal | undefined)[]): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const check = () => {
    if (signals.every((each) => each?.aborted)) controller.abort();
  };
  for (const each of signals) each?.addEventListener("abort", check, { once: true });
  return {
    signal: controller.signal,
    stop() {
      for (const each of signals) each?.removeEventListener("abort", check);
    },
  };
}

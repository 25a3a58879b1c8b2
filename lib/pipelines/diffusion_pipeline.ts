import { describe } from "../core/arguments.js";
import { resolveDevice } from "../core/device.js";
import { throwIfAborted } from "../core/errors.js";
import { Lease } from "../core/lease.js";
import { Semaphore } from "../core/semaphore.js";
import { ModelOffloader } from "../models/offloader.js";
import type { PretrainedModel } from "../models/pretrained.js";
import { refuseArgument } from "./options.js";
import type { OutputType, RunOptions } from "./run-options.js";

/** Any model of a pipeline. */
export type PipelineModel = PretrainedModel<unknown>;

/**
 * The base of all pipelines: their models' placement, and how runs share them.
 *
 * Runs may overlap on one pipeline without affecting each other's results. Components can be replaced; a run uses those
 * present at its start.
 */
export abstract class DiffusionPipeline {
  readonly #turns = new Semaphore(1);
  #offloader: ModelOffloader | undefined;
  readonly #lease = new Lease("the pipeline", () => this.free());

  /** The models, in the order in which a run needs them. */
  protected abstract readonly models: readonly PipelineModel[];

  /** Frees everything that the pipeline holds. */
  protected free(): void {
    for (const model of this.models) model.dispose();
  }

  /**
   * Keeps the models in host memory, and each on a device only while it computes. The device only has to hold the
   * largest model; moving them takes time in every run. Runs are serialised. Components set later are moved as well.
   * Must not be called during a run.
   *
   * @param device "cuda" or "cuda:N"; "auto", the default, is the first CUDA device, or the CPU if there is none, where
   * nothing moves
   * @throws `ERR_CUDA_UNAVAILABLE`
   */
  async enableModelCpuOffload(device = "auto"): Promise<void> {
    const target = resolveDevice(device);
    await this.#turns.run(async () => {
      this.#offloader = undefined;
      await this.#place("cpu");
      this.#offloader = new ModelOffloader(target);
    });
  }

  /**
   * Moves all models to a device, where they stay. Must not be called during a run.
   *
   * @param device "cpu", "cuda" or "cuda:N", or "auto"
   * @throws as `PretrainedModel.to`
   */
  async to(device: string): Promise<this> {
    const target = resolveDevice(device);
    await this.#turns.run(async () => {
      this.#offloader = undefined;
      await this.#place(target);
    });
    return this;
  }

  /** Frees the weights of every component after the current runs have finished; later runs throw `ERR_DISPOSED`. */
  dispose(): void {
    this.#lease.dispose();
  }

  get disposed(): boolean {
    return this.#lease.disposed;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * A run: keeps the pipeline alive, validates the call before anything is computed, and gives offloaded models their
   * turns.
   *
   * @param check validates; `device` is where the run computes
   */
  protected async running<Call, Result>(
    options: RunOptions<OutputType>,
    check: (device: string) => Call,
    work: (call: Call) => Promise<Result>,
  ): Promise<Result> {
    if (typeof options !== "object" || options === null) refuseArgument("options", describe(options), "an object");
    throwIfAborted(options.signal);
    using _held = this.#lease.hold();
    const models = this.models;
    const offloader = this.#offloader;
    const call = check(offloader?.device ?? models.at(-1)!.device);
    if (!offloader) return await work(call);
    // Concurrent runs would evict each other's models at every step.
    return await this.#turns.run(async () => {
      for (const model of models) model.offloadBy(offloader);
      try {
        return await work(call);
      } finally {
        await offloader.release();
      }
    });
  }

  async #place(device: string): Promise<void> {
    for (const model of this.models) {
      model.offloadBy(undefined);
      await model.to(device);
    }
  }
}

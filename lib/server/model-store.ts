import { readPipelineClass } from "../components/pipeline-class.js";
import { resolveDevice } from "../core/device.js";
import { resolveDType } from "../core/dtype.js";
import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { Semaphore } from "../core/semaphore.js";
import { gigabytes } from "../files/disk.js";
import type { RunLora } from "../lora/run-loras.js";
import { builtInKind } from "../models/built-in.js";
import type { JointPassInfo } from "../pipelines/batching/step-batcher.js";
import { DiffusionPipeline } from "../pipelines/diffusion_pipeline.js";
import { type LoraChoice, ServedAdapters } from "./adapters.js";
import { HttpError } from "./errors.js";
import { weightBytes } from "./model-memory.js";
import {
  describeClass,
  describeModel,
  type ImagePipeline,
  type ModelDescription,
  type ModelSource,
  type ServedModel,
  type ServerModels,
  serve,
} from "./models.js";
import type { ServerSettings } from "./options.js";

/** LoRA adapters by the names that requests have: a safetensors file, a folder, or the id of a repository each. */
export type ServerLoras = Readonly<Record<string, string>>;

type StoreSettings = Pick<ServerSettings, "memoryBudget" | "offload" | "maxBatchRows">;

/** What happens to models. */
export interface StoreEvents {
  onPass?: (pass: JointPassInfo) => void;
  onLoad?: (name: string, bytes: number) => void;
  onEvict?: (name: string) => void;
}

/** A model of the server, loaded or not. */
export interface ModelEntry {
  readonly name: string;
  /** Seconds since 1970 at which the server learned of it. */
  readonly created: number;
  readonly about: ModelDescription;
  /** Whether its weights are in memory. */
  readonly loaded: boolean;
}

/** A model in use: it stays loaded until it is disposed of. */
export interface HeldModel extends ServedModel, Disposable {
  /** The adapters that were asked for, for its runs. */
  readonly loras: readonly RunLora[];
}

interface Entry extends ModelEntry {
  about: ModelDescription;
  /** Undefined for a pipeline that was given. */
  source: ModelSource | undefined;
  pipeline: ImagePipeline | undefined;
  loaded: boolean;
  bytes: number;
  /** Requests that use it now. */
  holds: number;
  /** Grows with every use of any model. */
  used: number;
  adapters: ServedAdapters;
}

/**
 * The models of a server. Without a memory budget all are loaded at the start and stay. With one, a model is loaded when a
 * request needs it, and makes room by freeing those that were used longest ago; models in use are waited for. Requests get
 * their models in the order in which they ask, so none waits for ever.
 */
export class ModelStore implements Disposable {
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #settings: StoreSettings;
  readonly #events: StoreEvents;
  readonly #turns = new Semaphore(1);
  #uses = 0;
  /** Who waits until a model is no longer in use. */
  readonly #released = new Set<() => void>();

  private constructor(entries: ReadonlyMap<string, Entry>, settings: StoreSettings, events: StoreEvents) {
    this.#entries = entries;
    this.#settings = settings;
    this.#events = events;
  }

  /** @throws as `DiffusionPipeline.fromPretrained`; `ERR_INVALID_ARGUMENT` without a model */
  static async open(
    models: ServerModels,
    loras: ServerLoras,
    settings: StoreSettings,
    events: StoreEvents = {},
  ): Promise<ModelStore> {
    if (Object.keys(models).length === 0) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "models has no model");
    const entries = new Map<string, Entry>();
    for (const [name, model] of Object.entries(models)) {
      const pipeline = typeof model !== "string" && "run" in model ? model : undefined;
      const source = pipeline ? undefined : typeof model === "string" ? { from: model } : (model as ModelSource);
      const about = source ? await aboutSource(source) : describeModel(pipeline!);
      const adapters = new ServedAdapters(loras);
      entries.set(name, {
        ...{ name, about, source, created: Math.floor(Date.now() / 1000), bytes: 0, holds: 0, used: 0 },
        ...{ pipeline, loaded: pipeline !== undefined, adapters },
      });
    }
    const store = new ModelStore(entries, settings, events);
    try {
      for (const entry of entries.values()) {
        if (entry.pipeline) store.#prepare(entry.pipeline);
        else if (settings.memoryBudget === undefined) await store.#load(entry);
      }
    } catch (error) {
      store[Symbol.dispose]();
      throw error;
    }
    return store;
  }

  get list(): readonly ModelEntry[] {
    return [...this.#entries.values()];
  }

  /** Bytes of the weights that are loaded. */
  get bytes(): number {
    return this.#loadedBytes;
  }

  /**
   * @param name default the first
   * @throws a 404
   */
  get(name?: string): ModelEntry {
    return this.#entry(name);
  }

  /** Where a model comes from, undefined for a pipeline that was given, and what is known of it. */
  originOf(name?: string): { source: string | undefined; about: ModelDescription } {
    const { source, about } = this.#entry(name);
    return { source: source?.from, about };
  }

  #entry(name: string | undefined): Entry {
    const found = name === undefined ? [...this.#entries.values()][0] : this.#entries.get(name);
    if (found) return found;
    const names = [...this.#entries.keys()].map((each) => quote(each)).join(", ");
    throw new HttpError(404, "model_not_found", `there is no model ${quote(name!)}; there are ${names}`, {
      param: "model",
    });
  }

  /**
   * A model for a request, loaded, and the LoRA adapters that it asks for.
   *
   * @throws as `DiffusionPipeline.fromPretrained`; a 503 for a model that the memory budget does not hold; a 400 for adapters that
   *   do not fit the model; the signal's reason while it waits
   */
  async use(name: string | undefined, loras: readonly LoraChoice[], signal?: AbortSignal): Promise<HeldModel> {
    const entry = this.#entry(name);
    await this.#turns.run(async () => {
      if (!entry.pipeline) await this.#makeRoom(entry, signal);
      if (!entry.pipeline) await this.#load(entry);
      entry.holds++;
      entry.used = ++this.#uses;
    }, signal);
    const release = () => {
      entry.holds--;
      for (const wake of [...this.#released]) wake();
    };
    try {
      const chosen = await entry.adapters.choose(loras, entry.pipeline!);
      const { created, about, pipeline } = entry;
      return { ...serve(entry.name, pipeline!, about, created), loras: chosen, [Symbol.dispose]: release };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #until(condition: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    while (!condition()) {
      signal?.throwIfAborted();
      await new Promise<void>((resolve, reject) => {
        const end = (settle: () => void) => {
          this.#released.delete(wake);
          signal?.removeEventListener("abort", giveUp);
          settle();
        };
        const wake = () => end(resolve);
        const giveUp = () => end(() => reject(signal!.reason));
        this.#released.add(wake);
        signal?.addEventListener("abort", giveUp, { once: true });
      });
    }
  }

  /** Frees models that were used longest ago until there is room for what this one took when it was loaded last. */
  async #makeRoom(wanted: Entry, signal: AbortSignal | undefined): Promise<void> {
    const budget = this.#budget;
    const expected = wanted.bytes;
    while (this.#loadedBytes + expected > budget && this.#evictable.length > 0) {
      await this.#until(() => this.#evictable.some(({ holds }) => holds === 0), signal);
      this.#evictOldest();
    }
  }

  get #budget(): number {
    return (this.#settings.memoryBudget ?? Number.POSITIVE_INFINITY) * 1e9;
  }

  get #loadedBytes(): number {
    return [...this.#entries.values()].reduce((sum, { loaded, bytes }) => sum + (loaded ? bytes : 0), 0);
  }

  /** Loaded models that can be loaded again, those first that were used longest ago. */
  get #evictable(): Entry[] {
    return [...this.#entries.values()]
      .filter(({ source, loaded }) => source !== undefined && loaded)
      .sort((a, b) => a.used - b.used);
  }

  #evictOldest(except?: Entry): boolean {
    const oldest = this.#evictable.find((each) => each.holds === 0 && each !== except);
    if (!oldest) return false;
    oldest.pipeline?.dispose();
    oldest.adapters.forget();
    oldest.pipeline = undefined;
    oldest.loaded = false;
    this.#events.onEvict?.(oldest.name);
    return true;
  }

  async #load(entry: Entry): Promise<void> {
    const { from, ...options } = entry.source!;
    const { offload } = this.#settings;
    const device = resolveDevice(options.device ?? "auto");
    const beside = { device: "cpu", dtype: resolveDType(options.dtype ?? "float32", device) };
    // The device need not hold all of a model that is offloaded.
    const place = offload ? { ...options, ...beside } : options;
    const pipeline = (await DiffusionPipeline.fromPretrained(from, place)) as unknown as ImagePipeline;
    entry.bytes = await weightBytes(pipeline);
    const budget = this.#budget;
    if (entry.bytes > budget) {
      pipeline.dispose();
      const problem = `the model ${quote(entry.name)} takes ${gigabytes(entry.bytes)}, more than the memory budget`;
      throw new HttpError(503, "ERR_OUT_OF_MEMORY", problem, { param: "model" });
    }
    entry.pipeline = pipeline;
    entry.loaded = true;
    entry.about = describeModel(pipeline, builtInKind(from));
    // What it takes was not known before it was loaded for the first time.
    while (this.#loadedBytes > budget && this.#evictOldest(entry));
    if (offload && pipeline instanceof DiffusionPipeline) await pipeline.enableModelCpuOffload(device);
    this.#prepare(pipeline);
    this.#events.onLoad?.(entry.name, entry.bytes);
  }

  /** Lets concurrent requests share passes, where the pipeline can. */
  #prepare(pipeline: ImagePipeline): void {
    const { maxBatchRows: maxRows } = this.#settings;
    if (maxRows === 1 || !(pipeline instanceof DiffusionPipeline) || !("unet" in pipeline)) return;
    pipeline.enableStepBatching({ maxRows, onPass: (pass) => this.#events.onPass?.(pass) });
  }

  [Symbol.dispose](): void {
    for (const { source, pipeline } of this.#entries.values()) {
      if (source) pipeline?.dispose();
      else if (pipeline instanceof DiffusionPipeline && "unet" in pipeline && !pipeline.disposed)
        pipeline.disableStepBatching();
    }
  }
}

/** What is known of a model whose weights are not loaded. */
async function aboutSource({ from, ...options }: ModelSource): Promise<ModelDescription> {
  return describeClass(await readPipelineClass(from, options), builtInKind(from));
}

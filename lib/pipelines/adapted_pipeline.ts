import { checkList, describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { quote } from "../core/quote.js";
import { Semaphore } from "../core/semaphore.js";
import { AdaptedModel, type AdapterState, NO_ADAPTERS, type UsedAdapter, unfused } from "../lora/adapted-model.js";
import { type AdapterFactors, readAdapter } from "../lora/adapter.js";
import { AdaptableLayers } from "../lora/layers.js";
import type { LoraComponent } from "../lora/names.js";
import { checkRunLoras, type RunLora, type RunLoras } from "../lora/run-loras.js";
import { findLora, type LoraSourceOptions } from "../lora/source.js";
import { checkNumber, checkWeight, type LoraWeight, weightIn } from "../lora/weights.js";
import type { PretrainedModel } from "../models/pretrained.js";
import type { UNet2DConditionConfig } from "../models/unet_2d_condition.js";
import { WeightGuard } from "../models/weight-guard.js";
import { native } from "../runtime/native.js";
import { DiffusionPipeline } from "./diffusion_pipeline.js";

/** Options of `loadLoraWeights`. */
export interface LoraOptions extends LoraSourceOptions {
  /** The adapter's name. Default "default_0", "default_1", … */
  adapterName?: string;
  /** How much it counts. Default 1. */
  weight?: LoraWeight;
  /**
   * Whether it counts in all runs from now on. If not, it counts in those that name it (`loras`), and can be loaded during runs.
   * Default true.
   */
  active?: boolean;
}

/** Options of `fuseLora`. */
export interface FuseLoraOptions {
  /** The active adapters to fuse. Default all. */
  adapterNames?: readonly string[];
  /** What their weights are multiplied by. Default 1. */
  scale?: number;
}

const LORA_OPTIONS = optionNames<LoraOptions>()({
  adapterName: true,
  weight: true,
  active: true,
  weightName: true,
  subfolder: true,
  revision: true,
  cacheDir: true,
  token: true,
  localFilesOnly: true,
  signal: true,
});
const FUSE_OPTIONS = optionNames<FuseLoraOptions>()({ adapterNames: true, scale: true });

/** Changes of adapters take place one after the other: models may be shared by pipelines. */
const turns = new Semaphore(1);

type AdaptedModels = ReadonlyMap<LoraComponent, AdaptedModel>;

/**
 * Pipelines whose UNet and text encoders take LoRA adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685).
 *
 * Active adapters are added to the weights, of which the originals are kept, and beside them to the products of 8-bit models. They
 * cannot change during a run. Others count in the runs that name them (`loras`). Pipelines that share models share their adapters.
 */
export abstract class AdaptedPipeline extends DiffusionPipeline {
  /**
   * Loads an adapter in the format of diffusers and peft or of kohya's scripts (A1111), for the UNet, the text encoders, or
   * both, and makes it active beside those that are.
   *
   * @param source a safetensors file, a folder, or the id of a repository on the Hugging Face hub
   * @returns the adapter's name
   * @throws `ERR_STATE_DICT` naming tensors that are unknown, incomplete or of the wrong shape, as those of an adapter for
   *   another base model, and adapters other than LoRA; `ERR_NOT_FINITE`, `ERR_SAFETENSORS`, `ERR_FILE_NOT_FOUND`, `ERR_HUB`;
   *   `ERR_IN_USE` during a run, unless it is not made active. The weights are then unchanged.
   */
  async loadLoraWeights(source: string, options?: LoraOptions): Promise<string> {
    const { adapterName, weight = 1, active: isActive = true, ...from } = checkOptions(options, LORA_OPTIONS);
    if (adapterName !== undefined && (typeof adapterName !== "string" || adapterName === ""))
      throw invalid(`adapterName must be a text, not ${describe(adapterName)}`);
    if (typeof isActive !== "boolean") throw invalid(`active must be true or false, not ${describe(isActive)}`);
    return await this.#turn(async (models) => {
      const names = namesIn(models);
      if (adapterName !== undefined && names.includes(adapterName))
        throw invalid(`adapterName: there is an adapter ${quote(adapterName)} already`);
      const layers = await layersOf(models);
      const weights = checkWeight(weight, "weight", layers.get("unet"));
      const factors = await readAdapter(await findLora(source, from), layers);
      const name = adapterName ?? freeName(names);
      try {
        await (isActive ? change : changeBeside)(models, ({ adapters, active, ...rest }, component) => {
          const own = factors.get(component);
          if (!own) return { adapters, active, ...rest };
          const used = isActive ? [{ name, weightOf: weightIn(component, weights) }] : [];
          return { ...rest, adapters: new Map([...adapters, [name, own]]), active: [...active, ...used] };
        });
      } catch (error) {
        for (const each of factors.values()) disposeFactors(each);
        throw error;
      }
      return name;
    });
  }

  /**
   * Makes these the active adapters, and enables them.
   *
   * @param weights how much each counts: one for all, or one for each. Default 1.
   * @throws `ERR_INVALID_ARGUMENT` for unknown and fused adapters, `ERR_NOT_FINITE`, `ERR_IN_USE`
   */
  async setAdapters(names: string | readonly string[], weights: LoraWeight | readonly LoraWeight[] = 1): Promise<void> {
    const wanted = checkNames(names);
    const given = Array.isArray(weights) ? (weights as readonly LoraWeight[]) : wanted.map(() => weights as LoraWeight);
    if (given.length !== wanted.length)
      throw invalid(`weights has ${given.length} entries for ${wanted.length} adapters`);
    await this.#turn(async (models) => {
      checkKnownAdapters(wanted, models);
      refuseFused(wanted, models);
      const layers = await layersOf(models);
      const checked = wanted.map(
        (name, i) => [name, checkWeight(given[i]!, `weights[${i}]`, layers.get("unet"))] as const,
      );
      await change(models, (state, component) => {
        const active = checked.flatMap(([name, each]): UsedAdapter[] =>
          state.adapters.has(name) ? [{ name, weightOf: weightIn(component, each) }] : [],
        );
        const kept = state.active.filter(({ name }) => isFused(state, name));
        return { ...state, active: [...kept, ...active], enabled: true };
      });
    });
  }

  /** Computes without the adapters that are not fused, until `enableLora` or `setAdapters`. */
  async disableLora(): Promise<void> {
    await this.#turn((models) => change(models, (state) => ({ ...state, enabled: false })));
  }

  /** Undoes `disableLora`. */
  async enableLora(): Promise<void> {
    await this.#turn((models) => change(models, (state) => ({ ...state, enabled: true })));
  }

  /**
   * Makes active adapters a part of the weights, as `savePretrained` saves them, until `unfuseLora`.
   *
   * @throws `ERR_INVALID_ARGUMENT` for adapters that are not active or fused already, and for 8-bit models; `ERR_NOT_FINITE`,
   *   `ERR_IN_USE`
   */
  async fuseLora(options?: FuseLoraOptions): Promise<void> {
    const { adapterNames, scale = 1 } = checkOptions(options, FUSE_OPTIONS);
    checkNumber(scale, "scale");
    const wanted = adapterNames === undefined ? undefined : checkNames(adapterNames);
    await this.#turn(async (models) => {
      for (const { model } of models.values()) model.checkExact();
      const active = unique([...models.values()].flatMap(({ state }) => unfused(state).map(({ name }) => name)));
      const fusing = wanted ?? active;
      const unknown = fusing.find((name) => !active.includes(name));
      if (unknown !== undefined) throw invalid(`adapterNames: ${quote(unknown)} is not active, or fused already`);
      if (fusing.length === 0) throw invalid("there is no active adapter to fuse");
      await change(models, (state) => {
        const added = unfused(state)
          .filter(({ name }) => fusing.includes(name))
          .map(({ name, weightOf }) => ({ name, weightOf: (weight: string) => scale * weightOf(weight) }));
        return { ...state, fused: [...state.fused, ...added] };
      });
    });
  }

  /** Takes fused adapters out of the weights again, bit for bit; they are active as before. */
  async unfuseLora(): Promise<void> {
    await this.#turn((models) => change(models, (state) => ({ ...state, fused: [] })));
  }

  /** Removes all adapters. The weights are the original ones again, bit for bit, but keep what is fused, for good. */
  async unloadLoraWeights(): Promise<void> {
    await this.#turn(async (models) => {
      const before = [...models.values()].map(({ state }) => state.adapters);
      await change(models, ({ adapters, fused }) => ({
        ...NO_ADAPTERS,
        ...{ adapters: new Map([...adapters].filter(([name]) => isFused({ fused }, name))), fused },
      }));
      for (const each of models.values()) {
        if (each.state.fused.length > 0) each.keepFused();
        await each.become(NO_ADAPTERS);
      }
      for (const adapters of before) for (const factors of adapters.values()) disposeFactors(factors);
    });
  }

  /**
   * Removes adapters.
   *
   * @throws `ERR_INVALID_ARGUMENT` for unknown and fused ones, `ERR_IN_USE`
   */
  async deleteAdapters(names: string | readonly string[]): Promise<void> {
    const wanted = checkNames(names);
    await this.#turn(async (models) => {
      checkKnownAdapters(wanted, models);
      refuseFused(wanted, models);
      const before = [...models.values()].map(({ state }) => state.adapters);
      await change(models, ({ adapters, active, ...rest }) => ({
        ...rest,
        adapters: new Map([...adapters].filter(([name]) => !wanted.includes(name))),
        active: active.filter(({ name }) => !wanted.includes(name)),
      }));
      for (const adapters of before)
        for (const [name, factors] of adapters) if (wanted.includes(name)) disposeFactors(factors);
    });
  }

  /** The names of the loaded adapters. */
  get adapters(): string[] {
    return namesIn(this.#adapted());
  }

  /** The names of those that count: active ones unless they are disabled, and fused ones. */
  get activeAdapters(): string[] {
    const states = [...this.#adapted().values()].map(({ state }) => state);
    return unique(
      states
        .flatMap((state) => (state.enabled ? [...state.fused, ...state.active] : state.fused))
        .map(({ name }) => name),
    );
  }

  /** The names of those that are fused. */
  get fusedAdapters(): string[] {
    return unique([...this.#adapted().values()].flatMap(({ state }) => state.fused.map(({ name }) => name)));
  }

  /** The adapters that the option `loras` of a run names. @throws `ERR_INVALID_ARGUMENT` */
  protected checkLoras(loras: readonly RunLora[] | undefined): RunLoras {
    return checkRunLoras(loras, this.#adapted());
  }

  #turn<T>(work: (models: AdaptedModels) => Promise<T>): Promise<T> {
    return turns.run(async () => {
      using _held = this.lease();
      return await work(this.#adapted());
    });
  }

  /** The models that adapters can change. */
  #adapted(): AdaptedModels {
    const { components } = this;
    const models = new Map<LoraComponent, AdaptedModel>();
    for (const component of ["unet", "textEncoder", "textEncoder2"] as const) {
      const model = components[component] as PretrainedModel<unknown> | null | undefined;
      if (model) models.set(component, AdaptedModel.of(model));
    }
    return models;
  }
}

type NextState = (state: AdapterState, component: LoraComponent) => AdapterState;

/** Changes the adapters of all models or, if it throws, of none. */
async function change(models: AdaptedModels, next: NextState): Promise<void> {
  const all = [...models.values()];
  for (const { model } of all) await model.settled();
  await WeightGuard.change(
    all.map(({ model }) => model.weightGuard),
    () => become(models, next),
  );
}

/** The same of adapters that no run can have, so that none is in the way. */
async function changeBeside(models: AdaptedModels, next: NextState): Promise<void> {
  await become(models, next, (model) => model.settled());
}

async function become(
  models: AdaptedModels,
  next: NextState,
  ready: (model: PretrainedModel<unknown>) => Promise<void> = async () => {},
): Promise<void> {
  const all = [...models];
  const before = all.map(([, each]) => each.state);
  let done = 0;
  try {
    for (const [component, each] of all) {
      await ready(each.model);
      await each.become(next(each.state, component));
      done++;
    }
  } catch (error) {
    for (const [i, [, each]] of all.slice(0, done).entries()) await each.become(before[i]!);
    throw error;
  }
}

async function layersOf(models: AdaptedModels): Promise<Map<LoraComponent, AdaptableLayers>> {
  const layers = new Map<LoraComponent, AdaptableLayers>();
  for (const [component, { model }] of models) {
    await model.settled();
    const structure = component === "unet" ? (model.config as UNet2DConditionConfig) : undefined;
    layers.set(component, new AdaptableLayers(component, await native().modelParameterShapes(model.handle), structure));
  }
  return layers;
}

function namesIn(models: AdaptedModels): string[] {
  return unique([...models.values()].flatMap(({ state }) => [...state.adapters.keys()]));
}

function freeName(names: readonly string[]): string {
  for (let i = 0; ; i++) if (!names.includes(`default_${i}`)) return `default_${i}`;
}

function checkNames(names: string | readonly string[]): readonly string[] {
  const list = typeof names === "string" ? [names] : checkList(names, "names");
  for (const name of list) if (typeof name !== "string") throw invalid(`names must be texts, not ${describe(name)}`);
  if (new Set(list).size < list.length) throw invalid("names has an adapter twice");
  return list;
}

function checkKnownAdapters(names: readonly string[], models: AdaptedModels): void {
  const known = namesIn(models);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw invalid(`there is no adapter ${quote(unknown)}, only ${known.map(quote).join(", ") || "none"}`);
}

function refuseFused(names: readonly string[], models: AdaptedModels): void {
  for (const { state } of models.values())
    for (const name of names)
      if (isFused(state, name)) throw invalid(`the adapter ${quote(name)} is fused: call unfuseLora() first`);
}

function isFused({ fused }: Pick<AdapterState, "fused">, name: string): boolean {
  return fused.some((each) => each.name === name);
}

function disposeFactors(factors: AdapterFactors): void {
  for (const { up, down } of factors.values()) {
    up.dispose();
    down.dispose();
  }
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)];
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}

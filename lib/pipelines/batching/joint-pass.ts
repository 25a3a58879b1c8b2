import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { AdapterWeights } from "../../models/adapter-weights.js";
import type { UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import { UNetCache } from "../../models/unet-cache.js";
import type { UNetForwardOptions } from "../../models/unet-conditions.js";

/** What a run asks of its UNet in one step. Its tensors stay the run's. */
export interface StepCall {
  /** [inputs,C,h,w] */
  sample: Tensor;
  timestep: number;
  /** [rows,T,D]; null for UNets that are conditioned on images alone. */
  text: Tensor | null;
  options: UNetForwardOptions;
}

/** Conditions that stay the same from step to step, by their names. */
type Steady = Readonly<
  Record<"text" | "textEmbeds" | "timeIds" | "imageEmbeds" | "classLabels" | "timestepCond", Tensor>
>;

function steadyOf({ text, options }: StepCall): Partial<Steady> {
  const { addedConditions = {}, classLabels, timestepCond } = options;
  const all = { ...(text && { text }), ...addedConditions, classLabels, timestepCond };
  return Object.fromEntries(Object.entries(all).filter(([, tensor]) => tensor)) as Partial<Steady>;
}

/** The residuals of ControlNets, which every step has anew. */
function residualsOf({ options }: StepCall): readonly Tensor[] {
  const { downBlockAdditionalResiduals: down = [], midBlockAdditionalResidual: mid } = options;
  return mid ? [...down, mid] : down;
}

/** Rows of a call's result. */
export function rowsOf({ sample, options }: StepCall): number {
  return options.sampleRows?.length ?? sample.shape[0]!;
}

/** Equal for calls that a single pass can compute; undefined for one that has to be computed by itself. */
export function kindOf(call: StepCall): string | undefined {
  // Deep features belong to the cache of their run.
  if ((call.options.deepFeatures ?? "forget") !== "forget") return undefined;
  const described = ({ shape, dtype }: Tensor) => `${dtype} ${shape.slice(1)}`;
  const steady = Object.entries(steadyOf(call)).map(([name, tensor]) => `${name} ${described(tensor)}`);
  return [described(call.sample), ...steady.sort(), ...residualsOf(call).map(described)].join("; ");
}

/** Calls of several runs as one pass through their UNet. */
export class JointPass implements Disposable {
  readonly #of: readonly Partial<Steady>[];
  readonly #rows: readonly number[];
  readonly #inputs: readonly number[];
  readonly #cache = new UNetCache();
  #joined: Partial<Steady> = {};

  private constructor(calls: readonly StepCall[]) {
    this.#of = calls.map(steadyOf);
    this.#rows = calls.map(rowsOf);
    this.#inputs = calls.map(({ sample }) => sample.shape[0]!);
  }

  static async create(calls: readonly StepCall[]): Promise<JointPass> {
    const pass = new JointPass(calls);
    const names = Object.keys(pass.#of[0]!) as (keyof Steady)[];
    try {
      const joined = await Promise.all(
        names.map(async (name) => [name, await pass.#join(pass.#of.map((steady) => steady[name]!))] as const),
      );
      pass.#joined = Object.fromEntries(joined);
      return pass;
    } catch (error) {
      pass[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether the conditions of these calls are those that were joined, so that what depends on them alone is known. */
  suits(calls: readonly StepCall[]): boolean {
    return (
      calls.length === this.#of.length &&
      calls.every((call, i) => {
        const [own, steady] = [Object.entries(this.#of[i]!), steadyOf(call) as Record<string, Tensor>];
        const same =
          own.length === Object.keys(steady).length && own.every(([name, tensor]) => steady[name] === tensor);
        return same && rowsOf(call) === this.#rows[i] && call.sample.shape[0] === this.#inputs[i];
      })
    );
  }

  /** Each call's prediction, [rows,C,h,w]. */
  async predict(unet: UNet2DConditionModel, calls: readonly StepCall[], signal: AbortSignal): Promise<Tensor[]> {
    using scope = new Scope();
    const samples = Tensor.cat(calls.map(({ sample }) => sample));
    const added = residualsOf(calls[0]!).map((_, i) => this.#join(calls.map((call) => residualsOf(call)[i]!)));
    const sample = scope.add(await samples);
    const residuals: Tensor[] = [];
    for (const each of added) residuals.push(scope.add(await each));
    const { text = null, classLabels, timestepCond, ...addedConditions } = this.#joined;
    const sampleRows = this.#sampleRows(calls);
    const adapters = this.#adapters(calls);
    const timesteps = calls.flatMap(({ timestep }, i) => Array<number>(this.#rows[i]!).fill(timestep));
    const prediction = scope.add(
      await unet.forward(sample, timesteps, text, {
        ...{ cache: this.#cache, addedConditions, signal },
        ...(classLabels && { classLabels }),
        ...(timestepCond && { timestepCond }),
        ...(sampleRows && { sampleRows }),
        ...(adapters.length > 0 && { adapters }),
        ...(residuals.length > 0 && {
          downBlockAdditionalResiduals: residuals.slice(0, -1),
          midBlockAdditionalResidual: residuals.at(-1)!,
        }),
      }),
    );
    let from = 0;
    const parts: Tensor[] = [];
    for (const rows of this.#rows) parts.push(await prediction.slice(0, from, (from += rows)));
    return parts;
  }

  /** Each call's adapters in its own rows. */
  #adapters(calls: readonly StepCall[]): AdapterWeights[] {
    const ofCalls = calls.map(({ options }) => options.adapters ?? []);
    const names = new Set(ofCalls.flat().map(({ name }) => name));
    return [...names].map((name) => ({
      name,
      rows: ofCalls.flatMap((adapters, i) => {
        const rows = adapters.find((each) => each.name === name)?.rows ?? 0;
        return typeof rows === "number" ? Array<number>(this.#rows[i]!).fill(rows) : rows;
      }),
    }));
  }

  /** Undefined if every row of the text has its own row of the sample. */
  #sampleRows(calls: readonly StepCall[]): number[] | undefined {
    if (calls.every(({ options }) => !options.sampleRows)) return undefined;
    let before = 0;
    return calls.flatMap(({ options }, i) => {
      const first = before;
      before += this.#inputs[i]!;
      const own = options.sampleRows ?? Array.from({ length: this.#rows[i]! }, (_, row) => row);
      return own.map((row) => first + row);
    });
  }

  /** Conditions one after the other; one row stands for all rows of its call. */
  async #join(parts: readonly Tensor[]): Promise<Tensor> {
    using scope = new Scope();
    if (parts.every(({ shape }, i) => shape[0] === this.#rows[i])) return await Tensor.cat(parts);
    const whole: Tensor[] = [];
    for (const [i, part] of parts.entries()) {
      const ones = part.shape.slice(1).map(() => 1);
      const isWhole = part.shape[0] === this.#rows[i];
      whole.push(isWhole ? part : scope.add(await part.repeat([this.#rows[i]!, ...ones])));
    }
    return await Tensor.cat(whole);
  }

  [Symbol.dispose](): void {
    for (const tensor of Object.values(this.#joined)) tensor.dispose();
    this.#cache.dispose();
  }
}

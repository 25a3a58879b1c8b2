import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import type { AdapterWeights } from "../models/adapter-weights.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { UNetCache } from "../models/unet-cache.js";
import type { AddedConditions } from "../models/unet-conditions.js";
import type { StepSeat } from "../pipelines/batching/step-batcher.js";
import type { DeepFeatures } from "../runtime/contract/index.js";
import { combineRows, type GuidanceRow, sharedRows } from "./guidance.js";
import { type Controls, GuidedControl, tensorsOf } from "./guided-control.js";

/** What a guided prediction is made from. Its tensors become the owner's of the prediction. */
export interface GuidedInputs {
  unet: UNet2DConditionModel;
  /** Rows of guidance, for each of the `count` images. */
  rows: readonly GuidanceRow[];
  count: number;
  /** [rows · count,T,D] */
  embeddings: Tensor;
  /** Channels behind those of the latents: [inputs · count,C,h,w], for the inputs of {@link sharedRows}. */
  channels?: Tensor | undefined;
  /** Pooled text, sizes and so on, for UNets that take them: [rows · count,…] each. */
  added?: AddedConditions | undefined;
  /** [1] or [rows · count]. */
  classLabels?: Tensor | undefined;
  /** Added to the embedding of the timestep: [rows · count,D]. */
  timestepCond?: Tensor | undefined;
  /** Adapters that count in all rows. */
  adapters?: readonly AdapterWeights[] | undefined;
  /** φ of `guidanceRescale`; see {@link combineRows}. Default 0. */
  rescale?: number | undefined;
  /** ControlNets, whose residuals are added; their images stay the caller's. */
  controls?: Controls | undefined;
  /** The timesteps of the run. */
  timesteps: readonly number[];
}

/** Conditions that stay the same during a run. */
type FixedConditions = Pick<GuidedInputs, "classLabels" | "timestepCond">;

/** A UNet with its conditions for all rows of guidance, and the cache that the steps of a run share. */
export class GuidedUNet implements Disposable {
  readonly #inputs: Omit<GuidedInputs, "embeddings" | "channels" | "added" | keyof FixedConditions>;
  readonly #cache: UNetCache;
  #embeddings: Tensor;
  #channels: Tensor | undefined;
  readonly #added: AddedConditions;
  readonly #fixed: FixedConditions;
  readonly #control: GuidedControl | undefined;
  /** How often the latents are repeated. */
  #copies: number;
  /** Undefined if every row of text has its own row of latents. */
  #sampleRows: readonly number[] | undefined;

  constructor({ embeddings, channels, added = {}, classLabels, timestepCond, ...inputs }: GuidedInputs) {
    this.#inputs = inputs;
    this.#embeddings = embeddings;
    this.#channels = channels;
    this.#added = added;
    this.#fixed = { classLabels, timestepCond };
    this.#cache = new UNetCache(inputs.timesteps);
    this.#control = inputs.controls && new GuidedControl(inputs.controls, inputs);
    const { images, sampleRows } = sharedRows(inputs.rows, inputs.count);
    this.#copies = images.length;
    this.#sampleRows = sampleRows;
  }

  /** The same without guidance: only the row with text and image. */
  async withoutGuidance(): Promise<GuidedUNet> {
    const { rows, count } = this.#inputs;
    const row = rows.findIndex(({ text, image }) => text && image);
    const input = sharedRows(rows, count).images.indexOf(true);
    const of = (tensor: Tensor, i: number) => tensor.slice(0, i * count, (i + 1) * count);
    const [embeddings, channels] = await Promise.all([
      of(this.#embeddings, row),
      this.#channels && of(this.#channels, input),
    ]);
    const added = await mapAdded(this.#added, (tensor) => of(tensor, row));
    const { classLabels, timestepCond } = this.#fixed;
    const fixed = {
      classLabels: classLabels && (classLabels.shape[0] === 1 ? await classLabels.clone() : await of(classLabels, row)),
      timestepCond: timestepCond && (await of(timestepCond, row)),
    };
    // It keeps its place among diffusers' rows, which replacements have.
    const alone = [{ ...rows[row]!, weight: 1 }];
    return new GuidedUNet({ ...this.#inputs, rows: alone, rescale: 0, embeddings, channels, added, ...fixed });
  }

  /**
   * The guided prediction for latents [count,C,h,w].
   *
   * @param options.deepFeatures as in `UNet2DConditionModel.forward`
   * @param options.seat where the pass is computed together with those of other runs
   * @param options.controlScales what the ControlNets' residuals are multiplied by in this step
   */
  async predict(
    latents: Tensor,
    timestep: number,
    options: {
      deepFeatures: DeepFeatures;
      controlScales?: readonly number[];
      seat?: StepSeat | undefined;
      signal?: AbortSignal | undefined;
    },
  ): Promise<Tensor> {
    const { unet, rows, rescale, adapters } = this.#inputs;
    using scope = new Scope();
    const { deepFeatures, controlScales: scales = [], seat, signal } = options;
    const conditions = { embeddings: this.#embeddings, added: this.#added };
    const residuals = await this.#control?.residuals({ latents, timestep, ...conditions, scales, signal });
    for (const tensor of tensorsOf(residuals)) scope.add(tensor);
    const repeated = this.#copies === 1 ? latents : scope.add(await latents.repeat([this.#copies, 1, 1, 1]));
    const input = this.#channels ? scope.add(await Tensor.cat([repeated, this.#channels], 1)) : repeated;
    const prediction = await (seat ?? unet).forward(input, timestep, this.#embeddings, {
      cache: this.#cache,
      deepFeatures,
      addedConditions: this.#added,
      ...(this.#fixed.classLabels && { classLabels: this.#fixed.classLabels }),
      ...(this.#fixed.timestepCond && { timestepCond: this.#fixed.timestepCond }),
      ...(residuals && {
        downBlockAdditionalResiduals: residuals.downBlockResSamples,
        midBlockAdditionalResidual: residuals.midBlockResSample,
      }),
      ...(adapters && { adapters }),
      ...(this.#sampleRows && { sampleRows: this.#sampleRows }),
      ...(signal && { signal }),
    });
    return await combineRows(scope.add(prediction), rows, rescale);
  }

  /**
   * Replaces the conditions of the steps to come by tensors that hold all of diffusers' rows; they stay the caller's.
   *
   * @param embeddings [diffusers' rows · count,T,D]
   * @param channels [diffusers' rows · count,C,h,w]
   * @param added [diffusers' rows · count,…] each
   */
  async replace({ embeddings, channels, added }: Partial<Pick<GuidedInputs, "embeddings" | "channels" | "added">>) {
    const { rows, count } = this.#inputs;
    const ofRows = async (all: Tensor): Promise<Tensor> => {
      using scope = new Scope();
      const parts: Tensor[] = [];
      for (const { index } of rows) parts.push(scope.add(await all.slice(0, index * count, (index + 1) * count)));
      return await Tensor.cat(parts, 0);
    };
    if (embeddings) {
      const replaced = await ofRows(embeddings);
      this.#embeddings.dispose();
      this.#embeddings = replaced;
    }
    if (added) {
      for (const [name, replaced] of Object.entries(await mapAdded(added, ofRows))) {
        this.#added[name as keyof AddedConditions]?.dispose();
        this.#added[name as keyof AddedConditions] = replaced;
      }
    }
    if (channels) {
      const replaced = await ofRows(channels);
      this.#channels?.dispose();
      this.#channels = replaced;
      // Each row may now have other ones.
      this.#copies = rows.length;
      this.#sampleRows = undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#embeddings.dispose();
    this.#channels?.dispose();
    for (const tensor of Object.values(this.#added)) tensor.dispose();
    for (const tensor of Object.values(this.#fixed)) tensor?.dispose();
    this.#cache.dispose();
    this.#control?.[Symbol.dispose]();
  }
}

async function mapAdded(added: AddedConditions, change: (tensor: Tensor) => Promise<Tensor>): Promise<AddedConditions> {
  const changed: AddedConditions = {};
  for (const [name, tensor] of Object.entries(added))
    if (tensor) changed[name as keyof AddedConditions] = await change(tensor);
  return changed;
}

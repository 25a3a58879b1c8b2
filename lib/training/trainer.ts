import type { Generator } from "../core/generator.js";
import { Tensor } from "../core/tensor.js";
import { LORA_FOLDERS, type LoraComponent } from "../lora/names.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import type { CLIPTextModelWithProjection } from "../models/clip_text_model_with_projection.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { addedConditions, type GivenConditions } from "../models/unet-conditions.js";
import type { NativeTrainer } from "../runtime/contract/index.js";
import { cancellable, native } from "../runtime/native.js";
import { nativeOptions, ParameterTrainer, type TrainerOptions } from "./parameter-trainer.js";

/** The text, and what else the UNet is conditioned on. */
export interface TrainingConditions extends GivenConditions {
  /** Prompt embeddings [B,T,D]; not if the text encoder is trained. */
  embeddings?: Tensor;
  /** Token ids int64 [B,T] for each text encoder that is trained. */
  inputIds?: readonly Tensor[];
}

/** The text encoders that are trained along with a UNet: none, one, or Stable Diffusion XL's two. */
export interface TextEncoders {
  readonly textEncoder?: CLIPTextModel;
  readonly textEncoder2?: CLIPTextModelWithProjection;
}

/** One micro-batch, ready for the model. */
export interface MicroBatch {
  /** [B,in_channels,h,w]: noisy latents and image latents. */
  sample: Tensor;
  /** int64 [B] */
  timesteps: Tensor;
  conditions: TrainingConditions;
  /** The target: [B,out_channels,h,w]. */
  target: Tensor;
  /** Default the mean squared error. */
  loss?: BatchLoss;
}

/** The loss of a micro-batch, from the difference d of prediction and target: the mean over all elements. */
export interface BatchLoss {
  /** "l2": d²; "huber": 2δ(√(d² + δ²) − δ); "smooth_l1": 2(√(d² + δ²) − δ) */
  kind: "l2" | "huber" | "smooth_l1";
  /** δ of each row: float32 [B]; not for "l2". */
  deltas?: Tensor;
  /** What the loss of each row counts: float32 [B]. Default 1. */
  weights?: Tensor;
}

/** How a micro-step updates parameters as soon as their gradients are there. */
export interface ReleasedStep {
  learningRate: number;
  /** To which each parameter's gradient is clipped by itself. */
  maxGradNorm: number;
  /** As in {@link ParameterTrainer.step}. */
  emaDecay?: number | undefined;
}

/** A LoRA to train in place of a model's weights. */
export interface TrainableAdapter {
  /** Layers, by their names in the model. */
  layers: readonly string[];
  rank: number;
  alpha: number;
  dropout: number;
  /** Parameters that are trained in full beside it. Default none. */
  inFull?: readonly string[];
  /** Also makes the draws that peft makes before it overwrites the values. Default false. */
  likePeft?: boolean;
}

/**
 * Gives a model a LoRA that a trainer trains then, and freezes its weights. The LoRA has no effect at first: of its factors
 * the first is random, with a deviation of 1 / rank, the second zero.
 *
 * @param generator draws in the order of the model's layers
 * @throws `ERR_STATE_DICT` for unknown layers, `ERR_INVALID_ARGUMENT` for layers without a product
 */
export async function addAdapter(
  model: UNet2DConditionModel | CLIPTextModel,
  { inFull = [], likePeft = false, ...adapter }: TrainableAdapter,
  generator: Generator,
): Promise<void> {
  await native().addTrainableAdapter(model.handle, { name: "default", ...adapter, inFull, likePeft }, generator.handle);
}

/**
 * Trains a UNet in place, and text encoders with it if there are any, in float32, with mixed precision or with bfloat16 weights.
 * The arithmetic is native; the caller provides the data and the schedule. An optimizer step is any number of micro-steps ({@link
 * accumulate}) and one {@link step}. In its records, names of text encoders' parameters begin with "text_encoder." and
 * "text_encoder_2.".
 */
export class Trainer extends ParameterTrainer {
  readonly unet: UNet2DConditionModel;
  /** Those that are trained. */
  readonly textEncoders: TextEncoders;
  /** Whether adapters are trained, and the models' own weights are frozen. */
  readonly adapts: boolean;

  private constructor(unet: UNet2DConditionModel, textEncoders: TextEncoders, handle: NativeTrainer, adapts: boolean) {
    super(handle);
    this.adapts = adapts;
    this.unet = unet;
    this.textEncoders = textEncoders;
  }

  /**
   * With `bfloat16Weights` the models' weights are replaced: tensors that `stateDict()` returned before are no
   * longer theirs. Of models with a LoRA ({@link addAdapter}) only that is trained, in float32: frozen weights are then narrowed
   * to bfloat16 with `bfloat16Weights`, and with mixed precision in bfloat16.
   *
   * @throws `ERR_INVALID_ARGUMENT` if a model's weights are not float32, `ERR_OUT_OF_MEMORY`
   */
  static async create(
    unet: UNet2DConditionModel,
    options: TrainerOptions,
    textEncoders: TextEncoders = {},
    adapts = false,
  ): Promise<Trainer> {
    const texts = [textEncoders.textEncoder, textEncoders.textEncoder2].filter((model) => model !== undefined);
    for (const model of [unet, ...texts]) model.expectChanges();
    const handles = texts.map(({ handle }) => handle);
    const handle = await native().createTrainer(unet.handle, handles, nativeOptions(options));
    return new Trainer(unet, textEncoders, handle, adapts);
  }

  /** The weights of the models, or of the adapters where those are trained, by parameter name: the tensors themselves. */
  override async weights(): Promise<Record<string, Tensor>> {
    if (this.adapts) return await super.weights();
    const weights = await this.unet.stateDict();
    for (const [component, prefix] of TEXT_PREFIXES)
      for (const [name, tensor] of Object.entries((await this.textEncoders[component]?.stateDict()) ?? {}))
        weights[`${prefix}${name}`] = tensor;
    return weights;
  }

  /**
   * Forward, loss in float32, backward; accumulates the gradients of `factor` · loss. With `reduces` the
   * gradients are afterwards the averages of all processes, which must all do so ({@link distribute}).
   *
   * A trainer with `releaseGradients` updates the parameters meanwhile, as `update` says, unless the loss is not finite; {@link
   * step} then only reports. Without a signal, since a pass that is aborted would leave some of them updated.
   *
   * @returns the loss, a tensor of one element: reading it waits for the device
   */
  async accumulate(
    batch: MicroBatch,
    factor: number,
    options: { signal?: AbortSignal | undefined; reduces?: boolean; update?: ReleasedStep | undefined } = {},
  ): Promise<Tensor> {
    const { sample, timesteps, conditions, target, loss } = batch;
    const { kind = "l2", deltas, weights } = loss ?? {};
    const minimised = { kind, deltas: deltas?.handle ?? null, weights: weights?.handle ?? null };
    const { signal, reduces = false, update } = options;
    const released = update && { ...update, emaDecay: update.emaDecay ?? null };
    const { embeddings, inputIds, ...added } = conditions;
    const given = {
      ...addedConditions(added),
      embeddings: embeddings?.handle ?? null,
      inputIds: inputIds?.map(({ handle }) => handle) ?? null,
    };
    return new Tensor(
      await cancellable(signal, (token) =>
        native().trainerMicroStep(
          this.handle,
          ...([
            sample.handle,
            timesteps.handle,
            given,
            target.handle,
            minimised,
            factor,
            reduces,
            released ?? null,
            token,
          ] as const),
        ),
      ),
    );
  }
}

/** What the names of text encoders' parameters begin with in a {@link Trainer}'s records. */
const TEXT_PREFIXES = (["textEncoder", "textEncoder2"] as const).map(
  (component) => [component, `${LORA_FOLDERS[component]}.`] as const,
);

/** A {@link Trainer}'s records by model, without the prefixes; empty for what is not trained. */
export type TensorsByModel = Readonly<Record<LoraComponent, Record<string, Tensor>>>;

/** Splits a {@link Trainer}'s records by model; the tensors are shared. */
export function splitByModel(tensors: Record<string, Tensor>): TensorsByModel {
  const parts: TensorsByModel = {
    unet: Object.create(null),
    textEncoder: Object.create(null),
    textEncoder2: Object.create(null),
  };
  for (const [name, tensor] of Object.entries(tensors)) {
    const [component, prefix] = TEXT_PREFIXES.find(([, each]) => name.startsWith(each)) ?? (["unet", ""] as const);
    parts[component][name.slice(prefix.length)] = tensor;
  }
  return parts;
}

import { checkList } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { handleOf, type Tensor } from "../core/tensor.js";
import type { DeepFeatures, NativeConditions, NativeTensor } from "../runtime/contract/index.js";
import { type AdapterWeights, adapterWeights } from "./adapter-weights.js";
import type { UNetCache } from "./unet-cache.js";

/** Conditions that are added to the embedding of the timestep. Each has one row for all, or one for each row of the text. */
export interface AddedConditions {
  /** Pooled text embeddings [B,E], for `addition_embed_type` "text_time" (SDXL). */
  textEmbeds?: Tensor;
  /** Original size, crop and target size, or what else the model was trained with, [B,K], for "text_time". */
  timeIds?: Tensor;
  /** Image embeddings [B,E], for `addition_embed_type` "image" and `encoder_hid_dim_type` "image_proj" (Kandinsky 2.2). */
  imageEmbeds?: Tensor;
}

/** Conditions of a UNet beside the text. */
export interface GivenConditions {
  addedConditions?: AddedConditions;
  /**
   * Class labels: int64 [B] with `num_class_embeds`; numbers [B] for `class_embed_type` "timestep"; [B,D] for "identity",
   * "projection" and "simple_projection".
   */
  classLabels?: Tensor;
  /** Added to the embedding of the timestep before its layers, [B,time_cond_proj_dim]. Default none. */
  timestepCond?: Tensor;
  /**
   * Added to the skips, in the order of the way down: what a ControlNet computes (Zhang et al. 2023,
   * https://arxiv.org/abs/2302.05543). Goes with `midBlockAdditionalResidual`.
   */
  downBlockAdditionalResiduals?: readonly Tensor[];
  /** Added to the output of the middle. Goes with `downBlockAdditionalResiduals`. */
  midBlockAdditionalResidual?: Tensor;
}

/** Further conditions of a UNet, and what a call may share and reuse. */
export interface UNetForwardOptions extends GivenConditions {
  /**
   * For each row of the embeddings the index of its row of `sample`: rows that differ only in their conditions are passed,
   * and as far as possible computed, once. Default: one to one.
   */
  sampleRows?: readonly number[];
  /**
   * Adapters that count in this pass, each row its own: those that were loaded with `loadLoraWeights` and are not active. What
   * they add is computed beside the weights. Default none.
   */
  adapters?: readonly AdapterWeights[];
  /**
   * Caches results that depend only on the embeddings or timesteps for the next calls; belongs to the first model it is
   * used with.
   */
  cache?: UNetCache;
  /**
   * `reuse` computes only the highest resolution and reuses the deeper levels' features from the last call with `keep` or
   * `reuse` that computed them: faster and not exact (Ma et al. 2023, https://arxiv.org/abs/2312.00858). Both need the
   * cache. Default `forget`.
   */
  deepFeatures?: DeepFeatures;
  signal?: AbortSignal;
}

const ADDED_CONDITIONS = optionNames<AddedConditions>()({ textEmbeds: true, timeIds: true, imageEmbeds: true });

const FORWARD_OPTIONS = optionNames<UNetForwardOptions>()({
  addedConditions: true,
  classLabels: true,
  timestepCond: true,
  downBlockAdditionalResiduals: true,
  midBlockAdditionalResidual: true,
  sampleRows: true,
  adapters: true,
  cache: true,
  deepFeatures: true,
  signal: true,
});

/** The conditions of a pass, as the addon takes them. */
export function unetConditions(
  encoderHiddenStates: Tensor | null,
  options: UNetForwardOptions | undefined,
): NativeConditions {
  const given = checkOptions(options, FORWARD_OPTIONS);
  return {
    embeddings: encoderHiddenStates === null ? null : handleOf(encoderHiddenStates, "encoderHiddenStates"),
    ...addedConditions(given),
    sampleRows: given.sampleRows ?? null,
    adapters: adapterWeights(given.adapters),
    cache: given.cache?.handle ?? null,
    deepFeatures: given.deepFeatures ?? "forget",
  };
}

/** The conditions beside the text, as the addon takes them. */
export function addedConditions(given: GivenConditions): NativeConditions {
  const { textEmbeds, timeIds, imageEmbeds } = checkOptions(given.addedConditions ?? undefined, ADDED_CONDITIONS);
  return {
    textEmbeds: optional(textEmbeds, "textEmbeds"),
    timeIds: optional(timeIds, "timeIds"),
    imageEmbeds: optional(imageEmbeds, "imageEmbeds"),
    classLabels: optional(given.classLabels, "classLabels"),
    timestepCond: optional(given.timestepCond, "timestepCond"),
    residuals: residuals(given.downBlockAdditionalResiduals, given.midBlockAdditionalResidual),
  };
}

function residuals(
  down: readonly Tensor[] | undefined,
  mid: Tensor | undefined,
): NonNullable<NativeConditions["residuals"]> | null {
  if (down === undefined && mid === undefined) return null;
  if (down === undefined || mid === undefined)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${down ? "midBlockAdditionalResidual" : "downBlockAdditionalResiduals"} is missing: give both or neither`,
    );
  const name = "downBlockAdditionalResiduals";
  return {
    down: checkList(down, name).map((tensor) => handleOf(tensor, name)),
    mid: handleOf(mid, "midBlockAdditionalResidual"),
  };
}

function optional(tensor: Tensor | null | undefined, name: string): NativeTensor | null {
  return tensor === undefined || tensor === null ? null : handleOf(tensor, name);
}

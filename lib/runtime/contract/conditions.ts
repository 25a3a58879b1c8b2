import type { NativeTensor } from "./tensor.js";

/**
 * What a pass through a denoising network depends on beside the sample and its timesteps (native/nn/conditions.h). R is the
 * number of rows of the text; every other tensor has R rows, or one for all.
 */
export interface NativeConditions {
  /** Text embeddings [R,T,D]. */
  embeddings?: NativeTensor | null;
  /** In place of what the text encoders compute, for a trainer that trains them: token ids int64 [R,T] of each. */
  inputIds?: readonly NativeTensor[] | null;
  /** Pooled text [R,E]. */
  textEmbeds?: NativeTensor | null;
  /** Sizes and crops [R,K]. */
  timeIds?: NativeTensor | null;
  /** [R,E] */
  imageEmbeds?: NativeTensor | null;
  /** [R], or [R,E] where they are projected. */
  classLabels?: NativeTensor | null;
  /** [R,time_cond_proj_dim] */
  timestepCond?: NativeTensor | null;
  /** What a ControlNet adds to the skips and to the output of the middle. */
  residuals?: { down: readonly NativeTensor[]; mid: NativeTensor } | null;
  /** For each row of text its row of the sample, which may have fewer. Default: one to one. */
  sampleRows?: readonly number[] | null;
  /** Adapters beside the weights that count. */
  adapters?: readonly NativeAdapterWeights[] | null;
  cache?: NativeUNetCache | null;
  /** Reuses those of the last pass that kept them; `keep` and `reuse` need a cache. Default `forget`. */
  deepFeatures?: DeepFeatures;
}

/** How much an adapter counts: in all rows alike (one number), or in each row of the text. */
export interface NativeAdapterWeights {
  name: string;
  rows: readonly number[];
}

export interface ConditionsAddon {
  UNetCache: new (timesteps: readonly number[]) => NativeUNetCache;
}

export interface NativeUNetCache {
  dispose(): void;
}

/** What a call does with the deep features in a `UNetCache`. */
export type DeepFeatures = "forget" | "keep" | "reuse";

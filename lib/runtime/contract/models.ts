import type { NativeAdapterWeights, NativeConditions } from "./conditions.js";
import type { NativeGenerator } from "./random.js";
import type { NativeCancelToken } from "./system.js";
import type { DType, NativeTensor } from "./tensor.js";

/** bindings/models.cc, bindings/unet.cc, bindings/image_models.cc */
export interface ModelsAddon {
  loadModel(
    kind: ModelKind,
    config: object,
    files: readonly string[],
    options: {
      dtype: DType;
      device: string;
      attention: AttentionBackend;
      quantization: Quantization;
      /** Accepts weights that hold NaN or infinity; otherwise `ERR_NOT_FINITE` names the first one. */
      allowNonFinite: boolean;
      /** The parameters in the first file. Null: all tensors of all files, by their own names. */
      views: readonly TensorView[] | null;
    },
    cancel: NativeCancelToken | null,
  ): Promise<NativeModel>;
  /** With random float32 weights. */
  createModel(
    kind: ModelKind,
    config: object,
    options: { device: string; attention: AttentionBackend },
    generator: NativeGenerator | null,
  ): Promise<NativeModel>;
  /** The numbers of weights of linear and convolutional layers, and of all others, without making any. */
  countModelParameters(kind: ModelKind, config: object): Promise<{ products: number; others: number }>;
  modelStateDict(model: NativeModel): Promise<Record<string, NativeTensor>>;
  /** Names and shapes of the parameters. */
  modelParameterShapes(model: NativeModel): Promise<Record<string, number[]>>;
  /** The same of a model that is not made. */
  declaredParameterShapes(kind: string, config: object): Promise<Record<string, number[]>>;
  /** Changes weights, all or none; resolves to the originals (native/models/low_rank.h). */
  changeModelWeights(model: NativeModel, changes: readonly NativeWeightChange[]): Promise<NativeTensor[]>;
  /** Makes these the adapters beside a model's weights, all or none (native/models/low_rank.h). */
  placeModelAdapters(model: NativeModel, adapters: readonly NativePlacedAdapter[]): Promise<void>;
  setModelParameter(model: NativeModel, name: string, value: NativeTensor): Promise<void>;
  /** Work queued for the model before the move is done fails. */
  moveModel(model: NativeModel, device: string): Promise<void>;
  unetForward(
    model: NativeModel,
    sample: NativeTensor,
    /** One for all rows or one for each; a tensor of them is [] or [N]. */
    timesteps: readonly number[] | NativeTensor,
    conditions: NativeConditions,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  /** The same for a ControlNet; residuals among the conditions are another one's, to which these are added. */
  controlNetForward(
    model: NativeModel,
    sample: NativeTensor,
    timesteps: readonly number[] | NativeTensor,
    conditions: NativeConditions,
    control: NativeControl,
    cancel: NativeCancelToken | null,
  ): Promise<{ down: NativeTensor[]; mid: NativeTensor }>;
  /** Resolves to the moments: mean and log variance, [B,2·latent_channels,h,w]. */
  vaeEncode(
    model: NativeModel,
    x: NativeTensor,
    slicing: boolean,
    tiling: NativeTiling | null,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  vaeDecode(
    model: NativeModel,
    z: NativeTensor,
    slicing: boolean,
    tiling: NativeTiling | null,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  clipTextForward(
    model: NativeModel,
    inputIds: NativeTensor,
    hiddenStates: boolean,
    /** [B,T], 0 where a token is not attended to. */
    attentionMask: NativeTensor | null,
    /** The last layers to leave out. */
    skippedLayers: number,
    adapters: readonly NativeAdapterWeights[],
    cancel: NativeCancelToken | null,
  ): Promise<{
    lastHiddenState: NativeTensor;
    pooled: NativeTensor;
    textEmbeds?: NativeTensor;
    hiddenStates?: NativeTensor[];
  }>;
  clipVisionForward(
    model: NativeModel,
    /** [B,C,S,S] */
    pixelValues: NativeTensor,
    cancel: NativeCancelToken | null,
  ): Promise<{ lastHiddenState: NativeTensor; pooled: NativeTensor; imageEmbeds: NativeTensor }>;
  /** Cosines [B,3] and [B,17], and the thresholds for them. */
  safetyCheckerForward(
    model: NativeModel,
    /** [B,C,S,S] */
    pixelValues: NativeTensor,
    cancel: NativeCancelToken | null,
  ): Promise<{
    specialCare: NativeTensor;
    concepts: NativeTensor;
    specialCareThresholds: NativeTensor;
    conceptThresholds: NativeTensor;
  }>;
  /** [B,C,h,w], not quantized. */
  vqEncode(model: NativeModel, x: NativeTensor, cancel: NativeCancelToken | null): Promise<NativeTensor>;
  vqDecode(
    model: NativeModel,
    z: NativeTensor,
    /** Whether each place becomes the nearest entry of the codebook first. */
    quantize: boolean,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  priorForward(
    model: NativeModel,
    /** [B,E] */
    sample: NativeTensor,
    /** One for all rows or one for each. */
    timesteps: readonly number[],
    /** [B,E] */
    textEmbeds: NativeTensor,
    /** [B,T,D] */
    textStates: NativeTensor | null,
    /** [B,T], 0 for padding; null: every token looks at every other. */
    attentionMask: NativeTensor | null,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  /** Undoes the normalisation of embeddings [B,E]. */
  priorPostProcess(model: NativeModel, embeddings: NativeTensor): Promise<NativeTensor>;
}

/** Consecutive elements of a file's tensor, read as a parameter of another name and shape. */
export interface TensorView {
  /** The tensor's name in the file. */
  source: string;
  /** The parameter's name. */
  name: string;
  /** The shape of the elements as they lie in the file. */
  shape: readonly number[];
  /** The first element. */
  first: number;
  /** Whether the parameter is the transpose of this matrix. */
  transposed: boolean;
}

/** A weight becomes the original (null: what it is) plus Σ scale·up·down. */
export interface NativeWeightChange {
  name: string;
  original: NativeTensor | null;
  terms: readonly NativeTerm[];
}

/** scale·up·down */
export interface NativeTerm {
  up: NativeTensor;
  down: NativeTensor;
  scale: number;
}

/** An adapter whose products are added to those of weights, by the weights' names. */
export interface NativePlacedAdapter {
  name: string;
  /** Whether it counts only in passes that ask for it, instead of in all. */
  byRow: boolean;
  terms: readonly (NativeTerm & { name: string })[];
}

export interface NativeModel {
  readonly disposed: boolean;
  dispose(): void;
}

/** What a pass of a ControlNet takes (native/models/controlnet.h). */
export interface NativeControl {
  /** [B,C,H,W] in 0..1, with the rows of the sample or one. */
  picture: NativeTensor;
  scale: number;
  guessMode: boolean;
  /** Rows of zeros around the residuals. */
  zeroRowsBefore: number;
  zeroRowsBehind: number;
}

export interface NativeTiling {
  sampleMinSize: number;
  latentMinSize: number;
  overlap: number;
}

/** The model classes that the addon builds. */
export const MODEL_KINDS = [
  "UNet2DConditionModel",
  "AutoencoderKL",
  "CLIPTextModel",
  "CLIPTextModelWithProjection",
  "CLIPVisionModelWithProjection",
  "ControlNetModel",
  "PriorTransformer",
  "StableDiffusionSafetyChecker",
  "VQModel",
] as const;
export type ModelKind = (typeof MODEL_KINDS)[number];
/** Whether weights of linear layers and convolutions are kept in 8 bits. */
export type Quantization = "none" | "int8";
/** How attention is computed: by kernels that keep no matrix of weights, or, for comparison, with that matrix. */
export type AttentionBackend = "auto" | "math";

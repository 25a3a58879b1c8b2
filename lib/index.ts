// The public exports, nothing else.

import "./core/symbols.js"; // before everything else

export type { FromPretrainedOptions, LoadOptions } from "./components/load.js";
export type { LoadProgress } from "./components/load-progress.js";
export { CLIPImageProcessor } from "./conditioning/clip_image_processor.js";
export {
  type EncodedPrompt,
  type EncodedPromptPair,
  type EncodePromptOptions,
  encodePrompt,
} from "./conditioning/encode-prompt.js";
export { PROMPT_WEIGHTINGS, type PromptWeighting } from "./conditioning/prompt-weightings.js";
export { type CudaDevice, cudaDevices, deviceMemory, emptyCache, resetPeakMemory, synchronize } from "./core/cuda.js";
export type { DeviceOption } from "./core/device.js";
export type { DTypeOption } from "./core/dtype.js";
export { type ErrorCode, InstructPix2PixError, isInstructPix2PixError } from "./core/errors.js";
export { Generator } from "./core/generator.js";
export { type Logger, setLogger } from "./core/logger.js";
export { allowTf32, allowWinograd, useDeterministicAlgorithms } from "./core/numerics.js";
export { type DType, type ModelDType, type RandomOptions, Tensor, type TensorOptions } from "./core/tensor.js";
export { tidy, type Use } from "./core/tidy.js";
export { type CheckDatasetOptions, checkDataset } from "./data/check/check-dataset.js";
export type { DatasetReport, DuplicateRows, Findings, RowPlace } from "./data/check/report.js";
export { type EvaluationResult, evaluate } from "./evaluation/evaluate.js";
export type { EvaluateOptions, InstructionEditor, SkippedPair } from "./evaluation/options.js";
export type { EditMetrics, EvaluationPoint } from "./evaluation/points.js";
export {
  type EditRunner,
  type EvaluateWorldOptions,
  evaluateWorld,
  type WorldSummary,
} from "./evaluation/world.js";
export { loadSafetensors, loadSafetensorsWithMetadata, saveSafetensors } from "./files/safetensors.js";
export { type DownloadProgress, type ResolveOptions, resolvePretrained } from "./hub/index.js";
export { type CannyOptions, cannyEdges } from "./images/canny.js";
export {
  decodesInProgress,
  type EncodeOptions,
  type GridOptions,
  IMAGE_FORMATS,
  type ImageFormat,
  type ImageFormatAlias,
  type ImageGridLayout,
  type ImageSource,
  imageGrid,
  type LoadImageOptions,
  loadImage,
  makeImageGrid,
  type ResampleFilter,
  RgbImage,
  type TransferOptions,
  transferEdit,
} from "./images/index.js";
export type { ImageSize } from "./images/pixels.js";
export type { RunLora } from "./lora/run-loras.js";
export type { LoraSourceOptions } from "./lora/source.js";
export type { LoraWeight, LoraWeights } from "./lora/weights.js";
export type { AdapterWeights } from "./models/adapter-weights.js";
export { AutoencoderKL, type AutoencoderKLConfig, DiagonalGaussian } from "./models/autoencoder_kl.js";
export { builtInModel, builtInPhotoModel } from "./models/built-in.js";
export {
  type CLIPTextConfig,
  type CLIPTextForwardOptions,
  CLIPTextModel,
  type CLIPTextOutput,
} from "./models/clip_text_model.js";
export { CLIPTextModelWithProjection, type CLIPTextProjectedOutput } from "./models/clip_text_model_with_projection.js";
export {
  type CLIPVisionConfig,
  CLIPVisionModelWithProjection,
  type CLIPVisionOutput,
} from "./models/clip_vision_model_with_projection.js";
export {
  type ControlNetConfig,
  type ControlNetForwardOptions,
  ControlNetModel,
  type ControlNetOutput,
  type FromUNetOptions,
} from "./models/controlnet.js";
export type { ModelOptions, QuantizationOptions } from "./models/pretrained.js";
export { type PriorForwardOptions, PriorTransformer, type PriorTransformerConfig } from "./models/prior_transformer.js";
export {
  type SafetyCheckerConfig,
  type SafetyCheckerOutput,
  StableDiffusionSafetyChecker,
} from "./models/safety_checker.js";
export { type UNet2DConditionConfig, UNet2DConditionModel } from "./models/unet_2d_condition.js";
export { UNetCache } from "./models/unet-cache.js";
export type { AddedConditions, UNetForwardOptions } from "./models/unet-conditions.js";
export { type VQDecodeOptions, VQModel, type VQModelConfig } from "./models/vq_model.js";
export { makePhotoDataset, type PhotoDatasetOptions, type PhotoDatasetResult } from "./photos/dataset.js";
export { PHOTO_FAMILIES, type PhotoFamily } from "./photos/families/index.js";
export type { UnusablePhoto } from "./photos/sources.js";
export type { FuseLoraOptions, LoraOptions } from "./pipelines/adapted_pipeline.js";
export {
  type AnyControlNetImageToImage,
  type AnyControlNetInpainting,
  type AnyControlNetTextToImage,
  type AnyImageToImage,
  type AnyInpainting,
  type AnyTextToImage,
  type AutoComponents,
  AutoPipelineForImage2Image,
  AutoPipelineForInpainting,
  AutoPipelineForText2Image,
  type AutoShared,
} from "./pipelines/auto.js";
export type { JointPassInfo, StepBatchingOptions } from "./pipelines/batching/step-batcher.js";
export type { StableDiffusionComponents } from "./pipelines/components.js";
export type {
  ControlNetComponents,
  ControlNets,
  StableDiffusionControlNetComponents,
  StableDiffusionXLControlNetComponents,
  StableDiffusionXLControlNetRefinerComponents,
} from "./pipelines/controlnet/components.js";
export {
  type ControlNetTextToImageOptions,
  StableDiffusionControlNetPipeline,
} from "./pipelines/controlnet/controlnet.js";
export {
  type ControlNetImageToImageOptions,
  StableDiffusionControlNetImg2ImgPipeline,
} from "./pipelines/controlnet/controlnet_img2img.js";
export {
  type ControlNetInpaintOptions,
  StableDiffusionControlNetInpaintPipeline,
} from "./pipelines/controlnet/controlnet_inpaint.js";
export {
  type ControlNetTextToImageXLOptions,
  StableDiffusionXLControlNetPipeline,
} from "./pipelines/controlnet/controlnet_sd_xl.js";
export {
  type ControlNetImageToImageXLOptions,
  StableDiffusionXLControlNetImg2ImgPipeline,
} from "./pipelines/controlnet/controlnet_sd_xl_img2img.js";
export type { ControlImage, ControlledSizeOptions, ControlNetOptions } from "./pipelines/controlnet/options.js";
export { DiffusionPipeline } from "./pipelines/diffusion_pipeline.js";
export type { PipelineImage } from "./pipelines/image-input.js";
export { imageToTensor, tensorToImage, tensorToImages } from "./pipelines/image-tensors.js";
export type { InpaintImageOptions } from "./pipelines/inpainting/options.js";
export type { CombinedOptions, KandinskyV22CombinedComponents } from "./pipelines/kandinsky2_2/combined-base.js";
export type { KandinskyV22Components, KandinskyV22PriorComponents } from "./pipelines/kandinsky2_2/components.js";
export { type KandinskyV22Options, KandinskyV22Pipeline } from "./pipelines/kandinsky2_2/kandinsky2_2.js";
export {
  type CombinedImageToImageOptions,
  type CombinedInpaintOptions,
  KandinskyV22CombinedPipeline,
  KandinskyV22Img2ImgCombinedPipeline,
  KandinskyV22InpaintCombinedPipeline,
} from "./pipelines/kandinsky2_2/kandinsky2_2_combined.js";
export {
  type KandinskyV22ImageToImageOptions,
  KandinskyV22Img2ImgPipeline,
} from "./pipelines/kandinsky2_2/kandinsky2_2_img2img.js";
export {
  type KandinskyV22InpaintOptions,
  KandinskyV22InpaintPipeline,
} from "./pipelines/kandinsky2_2/kandinsky2_2_inpaint.js";
export {
  type InterpolateOptions,
  type KandinskyV22PriorOptions,
  KandinskyV22PriorPipeline,
} from "./pipelines/kandinsky2_2/kandinsky2_2_prior.js";
export {
  type KandinskyV22PriorEmb2EmbOptions,
  KandinskyV22PriorEmb2EmbPipeline,
} from "./pipelines/kandinsky2_2/kandinsky2_2_prior_emb2emb.js";
export type {
  KandinskyV22DecoderOptions,
  KandinskyV22StepProgress,
  KandinskyV22StepReplacements,
} from "./pipelines/kandinsky2_2/options.js";
export type { PriorOptions, PriorResult } from "./pipelines/kandinsky2_2/prior-base.js";
export type { MaxSizeOptions } from "./pipelines/max-size.js";
export type {
  ImagesResult,
  OutputType,
  PooledPromptOptions,
  PromptOptions,
  RunOptions,
  RunProgress,
  SamplingOptions,
  ScheduleOptions,
  StepProgress,
  StepReplacements,
  StepResult,
} from "./pipelines/run-options.js";
export {
  type EditOptions,
  type EditResult,
  InstructPix2PixPipeline,
  InstructPix2PixPipeline as StableDiffusionInstructPix2PixPipeline,
} from "./pipelines/stable_diffusion/instruct_pix2pix.js";
export { StableDiffusionPipeline, type TextToImageOptions } from "./pipelines/stable_diffusion/stable_diffusion.js";
export {
  type ImageToImageOptions,
  StableDiffusionImg2ImgPipeline,
} from "./pipelines/stable_diffusion/stable_diffusion_img2img.js";
export {
  type InpaintOptions,
  StableDiffusionInpaintPipeline,
} from "./pipelines/stable_diffusion/stable_diffusion_inpaint.js";
export type { TextGuidanceOptions } from "./pipelines/stable_diffusion/text-options.js";
export type {
  StableDiffusionXLComponents,
  StableDiffusionXLEditComponents,
  StableDiffusionXLRefinerComponents,
} from "./pipelines/stable_diffusion_xl/components.js";
export type {
  DenoisingEndOptions,
  NegativeSizeOptions,
  PromptPairOptions,
  SizeOptions,
} from "./pipelines/stable_diffusion_xl/options.js";
export type { RefiningOptions } from "./pipelines/stable_diffusion_xl/refining.js";
export {
  StableDiffusionXLPipeline,
  type TextToImageXLOptions,
} from "./pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
export {
  type ImageToImageXLOptions,
  StableDiffusionXLImg2ImgPipeline,
} from "./pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
export {
  type InpaintXLOptions,
  StableDiffusionXLInpaintPipeline,
} from "./pipelines/stable_diffusion_xl/stable_diffusion_xl_inpaint.js";
export {
  type EditXLOptions,
  StableDiffusionXLInstructPix2PixPipeline,
} from "./pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
export type { UpscaleComponents } from "./pipelines/upscale/components.js";
export {
  type LatentUpscaleOptions,
  StableDiffusionLatentUpscalePipeline,
} from "./pipelines/upscale/stable_diffusion_latent_upscale.js";
export { StableDiffusionUpscalePipeline, type UpscaleOptions } from "./pipelines/upscale/stable_diffusion_upscale.js";
export type { TileOptions } from "./pipelines/upscale/tiles.js";
export type {
  AttentionBackend,
  DeepFeatures,
  DeviceMemory,
  Float16Elements,
  Quantization,
  TensorData,
} from "./runtime/contract/index.js";
export { type Diagnosis, diagnose } from "./runtime/diagnose.js";
export { type InstalledLibtorch, type InstallOptions, installLibtorch } from "./runtime/libtorch/install.js";
export * from "./schedulers/index.js";
export type { SingleFilePipelineOptions } from "./single-file/check.js";
export type { FromSingleFileOptions, SingleFileLoadOptions } from "./single-file/load.js";
export type { SingleFileModelOptions } from "./single-file/model.js";
export { builtInTokenizer } from "./tokenizer/built-in.js";
export { CLIPTokenizer, type TokenizerDecodeOptions, type TokenizerEncodeOptions } from "./tokenizer/clip_tokenizer.js";
export { type CheckpointInfo, listCheckpoints } from "./training/checkpoint/list.js";
export type { StepRecord, TrainEvent, TrainResult } from "./training/events.js";
export { type MakeEmaOptions, type MakeEmaResult, makeEma } from "./training/post-hoc-ema/make-ema.js";
export { readMetrics } from "./training/read-metrics.js";
export { type TrainCallbacks, type TrainingRun, train } from "./training/train.js";
export type { TrainInput } from "./training/train-input.js";

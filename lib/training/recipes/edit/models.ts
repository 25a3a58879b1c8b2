import type { PipelineConfigs } from "../../../components/description.js";
import { type SavedComponent, type SavedPipeline, savedComponent } from "../../../components/save.js";
import { InstructPix2PixError } from "../../../core/errors.js";
import type { Generator } from "../../../core/generator.js";
import type { ModelDType } from "../../../core/tensor.js";
import type { RgbImage } from "../../../images/index.js";
import type { ImageSize } from "../../../images/pixels.js";
import type { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import type { ModelOptions } from "../../../models/pretrained.js";
import { UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import type { ImagesResult } from "../../../pipelines/run-options.js";
import { DDPMScheduler } from "../../../schedulers/ddpm.js";
import { EdmScheduler } from "../../../schedulers/edm-scheduler.js";
import type { SchedulerFactory } from "../../../schedulers/registry.js";
import type { Scheduler } from "../../../schedulers/scheduler.js";
import type { ModelToCount, RunModels } from "../../memory.js";
import type { TensorsByModel, TextEncoders, TrainingConditions } from "../../trainer.js";
import type { BaseComponents, BaseSource, KeptComponent, KeptModel } from "../base-source.js";
import type { FrozenModels } from "../frozen-models.js";
import { KEPT_MODELS } from "../kept-models.js";
import type { LoadPlace } from "../recipe.js";
import type { TextRows } from "./micro-batch.js";

/** The frozen models of a recipe, of which all have an autoencoder. */
export type Frozen = { readonly vae: AutoencoderKL };

/** What has been loaded for a run, and where from. */
export interface LoadedParts<C extends BaseComponents, F extends Frozen> {
  source: BaseSource<C>;
  frozen: FrozenModels<F & Readonly<Record<string, Disposable>>>;
  /** The autoencoder's, which stay known while its weights are released. */
  autoencoder: Pick<AutoencoderKL, "config" | "scaleFactor" | "dtype">;
  unet: UNet2DConditionModel;
  /** Whether the UNet was a text-to-image model's and its first convolution was widened. */
  extended: boolean;
  noiseSchedule: DDPMScheduler;
  predictionType: "epsilon" | "v_prediction";
  /** In place of the base model's, where training changes its settings. */
  scheduler: Scheduler | undefined;
}

/** A call of the pipeline in training, for validation. */
export interface EditCall {
  generator: Generator;
  signal: AbortSignal | undefined;
  image: RgbImage;
  prompt: string;
  numInferenceSteps: number;
  guidanceScale: number;
  imageGuidanceScale: number;
}

/** The models of a run that trains a UNet to edit: those that are trained, and those that stay as they are. */
export abstract class EditModels<C extends BaseComponents = BaseComponents, F extends Frozen = Frozen> {
  readonly unet: UNet2DConditionModel;
  readonly extended: boolean;
  /** The base model's own, for validation and the saved pipeline. */
  readonly scheduler: Scheduler;
  /** The noise schedule of training: DDPM with the settings of the base model's scheduler, of any class. */
  readonly noiseSchedule: DDPMScheduler;
  readonly predictionType: "epsilon" | "v_prediction";
  readonly autoencoder: LoadedParts<C, F>["autoencoder"];
  /** Where the frozen models compute. */
  readonly device: string;
  /** Type of the text embeddings, and of the latents as the UNet gets them. */
  readonly dtype: ModelDType;
  protected readonly source: BaseSource<C>;
  protected readonly frozen: LoadedParts<C, F>["frozen"];

  constructor(
    parts: LoadedParts<C, F>,
    { device, frozenDType }: Pick<LoadPlace, "device" | "frozenDType">,
    textEncoders: TextEncoders,
  ) {
    this.textEncoders = textEncoders;
    this.source = parts.source;
    this.frozen = parts.frozen;
    this.unet = parts.unet;
    this.extended = parts.extended;
    this.scheduler = parts.scheduler ?? parts.source.ready.scheduler;
    this.noiseSchedule = parts.noiseSchedule;
    this.predictionType = parts.predictionType;
    this.autoencoder = parts.autoencoder;
    this.device = device;
    this.dtype = frozenDType;
  }

  /** Of which base models it is one. */
  abstract readonly family: "sd" | "sdxl";

  /** The text encoders that are trained. */
  readonly textEncoders: TextEncoders;

  /** The scheduler to save. */
  protected savedScheduler(): SavedComponent {
    const { scheduler, source } = this;
    return scheduler === source.ready.scheduler
      ? source.kept("scheduler" as KeptComponent<C>)
      : savedComponent("scheduler", scheduler);
  }

  async vae(): Promise<AutoencoderKL> {
    return (await this.frozen.get()).vae;
  }

  /** Instructions as they are before a micro-step: encoded, or as token ids for a text encoder that is trained. */
  abstract encodeText(prompts: readonly string[], signal: AbortSignal | undefined): Promise<TextRows>;

  /** What replaces dropped instructions, one row: what is not in it is never dropped. */
  abstract nullText(signal: AbortSignal | undefined): Promise<TextRows>;

  /**
   * What the trainer is given for the texts of a micro-step. Only the texts' tensors are the caller's.
   *
   * @param size of the images; undefined for the square of the resolution
   */
  abstract conditions(text: TextRows, size: ImageSize | undefined): TrainingConditions | Promise<TrainingConditions>;

  /** @throws `ERR_TOKENIZER` for a text that cannot be encoded */
  abstract checkPrompt(prompt: string): Promise<void>;

  /** The size to which validation images are resized; undefined for that of the image itself. */
  abstract editSize(): { width: number; height: number } | undefined;

  /** The pipeline with the weights as they are now. */
  abstract editor(): Promise<(call: EditCall) => Promise<ImagesResult>>;

  /** The pipeline to save: what is trained with these weights, the base model's other components as they are there. */
  abstract pipeline(weights: TensorsByModel): SavedPipeline;

  /** Lines that tell what encodes images and texts from anything else. */
  abstract contents(): Promise<string[]>;

  /** Frees the frozen models until they are needed again. */
  release(): Promise<void> {
    return this.frozen.release();
  }

  async dispose(): Promise<void> {
    await this.release();
    for (const model of Object.values(this.textEncoders)) model?.dispose();
    this.unet.dispose();
  }
}

/** How the models of a run are loaded. */
export interface PartsOptions<C extends BaseComponents> {
  /** The types of the frozen models. */
  frozenDTypes: { readonly vae: ModelDType } & { readonly [K in KeptModel<C>]?: ModelDType };
  /** What is trained beside the UNet. Default nothing. */
  trained?: readonly KeptModel<C>[];
  /** What the UNet is trained to predict. Default what the base model's scheduler says. */
  predictionType?: "epsilon" | "v_prediction" | undefined;
  /** Whether the noise schedule is changed to end without any signal. Default as the base model's. */
  zeroTerminalSnr?: boolean;
  /** What else the UNet's files are chosen by. */
  unetOptions?: Pick<ModelOptions, "variant">;
}

/**
 * Loads the frozen models and the UNet, in float32.
 *
 * @throws `ERR_CONFIG` for a prediction type that cannot be trained, before weights are read; with nothing left loaded
 */
export async function loadParts<C extends BaseComponents, F extends Frozen>(
  source: BaseSource<C>,
  frozen: LoadedParts<C, F>["frozen"],
  place: Pick<LoadPlace, "device" | "signal" | "trained" | "checkMemory">,
  parts: PartsOptions<C>,
): Promise<LoadedParts<C, F>> {
  const { trained } = place;
  const own = source.ready.scheduler.config;
  const changed = {
    ...(parts.predictionType !== undefined && { prediction_type: parts.predictionType }),
    ...(parts.zeroTerminalSnr && { rescale_betas_zero_snr: true, timestep_spacing: "trailing" }),
  };
  const noiseSchedule = DDPMScheduler.fromConfig({ ...own, ...changed });
  if (source.ready.scheduler instanceof EdmScheduler)
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `${source.schedulerPath}: the model takes EDM's noise levels, as CosXL does, which training does not know`,
    );
  const predictionType = parts.predictionType ?? own.prediction_type ?? "epsilon";
  if (predictionType !== "epsilon" && predictionType !== "v_prediction")
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `${source.schedulerPath}: "prediction_type" is ${JSON.stringify(predictionType)}; training knows "epsilon" and "v_prediction"`,
    );
  if (noiseSchedule.config.rescale_betas_zero_snr && predictionType === "epsilon")
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `${source.schedulerPath}: without any signal at the last timestep the noise says nothing of the image: with zeroTerminalSnr predictionType must be "v_prediction"`,
    );
  await place.checkMemory?.(modelsOf(source, parts));
  const options = modelOptions(place);
  try {
    const { vae } = await frozen.get();
    const existing = vae.config.latent_channels;
    const inChannels = 2 * existing;
    const { unet, extended } = trained
      ? // A checkpoint's UNet has all channels.
        await UNet2DConditionModel.fromPretrainedExtended(trained.unet, { inChannels }, options)
      : await source.loadUNet({ existing, inChannels }, { ...options, ...parts.unetOptions });
    const { config, scaleFactor, dtype } = vae;
    const autoencoder = { config, scaleFactor, dtype };
    const scheduler =
      Object.keys(changed).length === 0
        ? undefined
        : withSettings(source.ready.scheduler, { ...changed, prediction_type: predictionType });
    return { source, frozen, autoencoder, unet, extended, noiseSchedule, predictionType, scheduler };
  } catch (error) {
    await frozen.release();
    throw error;
  }
}

/** A scheduler of the same class with other settings. */
function withSettings(scheduler: Scheduler, settings: Record<string, unknown>): Scheduler {
  const { fromConfig } = scheduler.constructor as unknown as SchedulerFactory;
  return fromConfig.call(scheduler.constructor as never, { ...scheduler.config, ...settings });
}

/** What will be loaded. */
function modelsOf<C extends BaseComponents>(
  source: BaseSource<C>,
  { frozenDTypes, trained = [] }: PartsOptions<C>,
): RunModels {
  const { unet, vae } = source.configs as unknown as PipelineConfigs<BaseComponents>;
  const model = (name: KeptModel<C>) => ({
    description: KEPT_MODELS[name as keyof typeof KEPT_MODELS].description as ModelToCount["description"],
    config: source.configs[name],
  });
  const frozen = Object.entries<ModelDType>(frozenDTypes as Record<KeptModel<C>, ModelDType>);
  return {
    ...{ unet, vae, vaeDType: frozenDTypes.vae },
    trained: trained.map(model),
    frozen: frozen.map(([name, dtype]) => ({ ...model(name as KeptModel<C>), dtype })),
  };
}

/** How models are loaded for training. */
export function modelOptions({ device, signal }: Pick<LoadPlace, "device" | "signal">): ModelOptions {
  return { device, ...(signal && { signal }), suggestAllowNonFinite: false };
}

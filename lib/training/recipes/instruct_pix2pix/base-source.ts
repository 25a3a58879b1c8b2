import type { PipelineDescription } from "../../../components/description.js";
import type { SavedComponent } from "../../../components/save.js";
import type { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import type { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { ModelOptions } from "../../../models/pretrained.js";
import type { InputChannels, UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import { checkLatentChannels, checkTextWidth, checkVocabulary } from "../../../pipelines/compatibility.js";
import { INSTRUCT_PIX2PIX, type StableDiffusionComponents } from "../../../pipelines/components.js";
import type { Scheduler } from "../../../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../../../tokenizer/clip_tokenizer.js";

/** An InstructPix2Pix model, or a text-to-image model to make one of. */
export const BASE: PipelineDescription<StableDiffusionComponents> = {
  ...INSTRUCT_PIX2PIX,
  check({ unet, vae, textEncoder, tokenizer }, index) {
    const { latent_channels: latents } = vae;
    if (unet.in_channels !== latents) checkLatentChannels(unet, vae, index);
    checkTextWidth(unet, textEncoder);
    checkVocabulary(tokenizer, textEncoder);
  },
};

/** The options of training that say where the base model is. */
export interface BaseLocation {
  /** A folder, an id on the hub, or a single file in the original layout. */
  pretrainedModelNameOrPath: string;
  /** For a single file: where its configurations are. */
  config?: string;
  revision?: string;
  variant?: string;
  nonEmaRevision?: string;
  cacheDir?: string;
  hubToken?: string;
  signal?: AbortSignal;
}

/** The components that training may leave as they are. */
export type KeptComponent = Exclude<keyof StableDiffusionComponents, "unet">;

/** Where a base model's components come from: they fit together, and weights are not read yet. */
export interface BaseSource {
  readonly tokenizer: CLIPTokenizer;
  readonly scheduler: Scheduler;
  /** What the scheduler's settings are from, for messages. */
  readonly schedulerPath: string;
  loadTextEncoder(options: ModelOptions): Promise<CLIPTextModel>;
  loadAutoencoder(options: ModelOptions): Promise<AutoencoderKL>;
  /** Loads the UNet, with the input channels that it lacks. */
  loadUNet(channels: InputChannels, options: ModelOptions): Promise<{ unet: UNet2DConditionModel; extended: boolean }>;
  /** A component of the base model, in its own type, for the saved pipeline. */
  kept(component: KeptComponent): SavedComponent;
  /** Lines that tell the content of components from any other. */
  contents(components: readonly KeptComponent[]): Promise<string[]>;
}

import type { PipelineDescription } from "../../../components/description.js";
import { InstructPix2PixError } from "../../../core/errors.js";
import type { CLIPTextModel } from "../../../models/clip_text_model.js";
import { checkLatentChannels } from "../../../pipelines/compatibility.js";
import {
  type StableDiffusionXLEditComponents,
  stableDiffusionXLEdit,
} from "../../../pipelines/stable_diffusion_xl/components.js";
import type { CLIPTokenizer } from "../../../tokenizer/clip_tokenizer.js";

/** A base model's components: unlike a refiner it has both text encoders. */
export interface XLBaseComponents extends StableDiffusionXLEditComponents {
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
}

const EDIT = stableDiffusionXLEdit("StableDiffusionXLInstructPix2PixPipeline", (unet, vae, index) => {
  if (unet.in_channels !== vae.latent_channels) checkLatentChannels(unet, vae, index);
});

/** A Stable Diffusion XL InstructPix2Pix model, or a text-to-image model to make one of. */
export const BASE = {
  ...EDIT,
  check(configs, index) {
    if (configs.textEncoder === null || configs.tokenizer === null)
      throw new InstructPix2PixError(
        "ERR_CONFIG",
        `${index ? `${index.path}: ` : ""}a model without the first text encoder is a refiner, which cannot be trained to edit: give a base model`,
      );
    EDIT.check?.(configs, index);
  },
} as PipelineDescription<XLBaseComponents>;

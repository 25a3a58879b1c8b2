import type { PipelineDescription } from "../../../components/description.js";
import { checkLatentChannels, checkTextWidth, checkVocabulary } from "../../../pipelines/compatibility.js";
import { INSTRUCT_PIX2PIX, type StableDiffusionComponents } from "../../../pipelines/components.js";

/** An InstructPix2Pix model, or a text-to-image model to make one of. */
export const BASE: PipelineDescription<StableDiffusionComponents> = {
  ...INSTRUCT_PIX2PIX,
  check({ unet, vae, textEncoder, tokenizer }, index) {
    const { latent_channels: latents } = vae;
    if (unet.in_channels !== latents) checkLatentChannels(unet, vae, index);
    checkTextWidth(unet, [textEncoder]);
    checkVocabulary(tokenizer, textEncoder);
  },
};

import type { ComponentSlot, PipelineDescription } from "../../components/description.js";
import type { CLIPImageProcessor } from "../../conditioning/clip_image_processor.js";
import { InstructPix2PixError } from "../../core/errors.js";
import type { CLIPTextModelWithProjection } from "../../models/clip_text_model_with_projection.js";
import type { CLIPVisionModelWithProjection } from "../../models/clip_vision_model_with_projection.js";
import type { PriorTransformer } from "../../models/prior_transformer.js";
import type { UNet2DConditionConfig, UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import type { VQModel, VQModelConfig } from "../../models/vq_model.js";
import { SCHEDULER_NAMES } from "../../schedulers/registry.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../../tokenizer/clip_tokenizer.js";

/** The components of Kandinsky 2.2's priors. */
export interface KandinskyV22PriorComponents {
  prior: PriorTransformer;
  imageEncoder: CLIPVisionModelWithProjection;
  textEncoder: CLIPTextModelWithProjection;
  tokenizer: CLIPTokenizer;
  scheduler: Scheduler;
  imageProcessor: CLIPImageProcessor;
}

/** The components of Kandinsky 2.2's decoders. */
export interface KandinskyV22Components {
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
  movq: VQModel;
}

/** Where priors have their components. */
const PRIOR_SLOTS: { readonly [K in keyof KandinskyV22PriorComponents]: ComponentSlot } = {
  prior: { folder: "prior", classes: ["PriorTransformer"] },
  imageEncoder: { folder: "image_encoder", classes: ["CLIPVisionModelWithProjection"] },
  textEncoder: { folder: "text_encoder", classes: ["CLIPTextModelWithProjection"] },
  tokenizer: { folder: "tokenizer", classes: ["CLIPTokenizer", "CLIPTokenizerFast"] },
  scheduler: { folder: "scheduler", classes: SCHEDULER_NAMES },
  imageProcessor: {
    folder: "image_processor",
    classes: ["CLIPImageProcessor", "CLIPImageProcessorPil", "CLIPImageProcessorFast", "CLIPFeatureExtractor"],
  },
};

/** Where decoders have their components. */
const DECODER_SLOTS: { readonly [K in keyof KandinskyV22Components]: ComponentSlot } = {
  unet: { folder: "unet", classes: ["UNet2DConditionModel"] },
  scheduler: { folder: "scheduler", classes: SCHEDULER_NAMES },
  movq: { folder: "movq", classes: ["VQModel"] },
};

/** @param className in diffusers */
export function kandinskyPrior(className: string): PipelineDescription<KandinskyV22PriorComponents> {
  return {
    className,
    components: PRIOR_SLOTS,
    check({ prior, imageEncoder, textEncoder }) {
      const width = prior.embedding_dim;
      const sizes = {
        "the text encoder's hidden_size": textEncoder.hidden_size,
        "the text encoder's projection_dim": textEncoder.projection_dim,
        "the image encoder's projection_dim": imageEncoder.projection_dim,
      };
      for (const [name, size] of Object.entries(sizes))
        if (size !== width)
          throw new InstructPix2PixError(
            "ERR_CONFIG",
            `the prior's embedding_dim is ${width}, but ${name} is ${size}: they belong to different models`,
          );
    },
  };
}

/**
 * @param className in diffusers
 * @param options.inpaints whether the UNet takes the masked image's latents and the mask behind the latents
 */
export function kandinskyDecoder(
  className: string,
  { inpaints = false }: { inpaints?: boolean } = {},
): PipelineDescription<KandinskyV22Components> {
  return {
    className,
    components: DECODER_SLOTS,
    check: ({ unet, movq }) => checkDecoder(unet, movq, inpaints),
  };
}

/** @throws `ERR_CONFIG` for a UNet that is not for a pipeline, saying what it is for */
export function checkDecoder(unet: UNet2DConditionConfig, movq: VQModelConfig, inpaints: boolean): void {
  const refuse = (problem: string) => new InstructPix2PixError("ERR_CONFIG", problem);
  if (unet.encoder_hid_dim_type !== "image_proj" || unet.addition_embed_type !== "image")
    throw refuse("the UNet is not conditioned on image embeddings, as those of Kandinsky 2.2 are");
  const latents = movq.vq_embed_dim ?? movq.latent_channels;
  if (unet.out_channels !== 2 * latents)
    throw refuse(
      `the UNet has ${unet.out_channels} output channels, not the ${2 * latents} of the noise and its variance`,
    );
  const wanted = inpaints ? 2 * latents + 1 : latents;
  if (unet.in_channels === wanted) return;
  const use =
    unet.in_channels === 2 * latents + 1
      ? ": it is an inpainting model, for KandinskyV22InpaintPipeline"
      : unet.in_channels === latents
        ? ": it is for KandinskyV22Pipeline and KandinskyV22Img2ImgPipeline"
        : "";
  throw refuse(`the UNet has ${unet.in_channels} input channels, not ${wanted}${use}`);
}

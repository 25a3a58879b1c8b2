import { componentNames } from "../components/description.js";
import { InstructPix2PixError } from "../core/errors.js";
import type { OptionNames } from "../core/known-options.js";
import { quote } from "../core/quote.js";
import { StableDiffusionControlNetPipeline } from "./controlnet/controlnet.js";
import { StableDiffusionControlNetImg2ImgPipeline } from "./controlnet/controlnet_img2img.js";
import { StableDiffusionControlNetInpaintPipeline } from "./controlnet/controlnet_inpaint.js";
import { StableDiffusionXLControlNetPipeline } from "./controlnet/controlnet_sd_xl.js";
import { StableDiffusionXLControlNetImg2ImgPipeline } from "./controlnet/controlnet_sd_xl_img2img.js";
import type { DiffusionPipeline, PipelineClass } from "./diffusion_pipeline.js";
import { KandinskyV22Pipeline } from "./kandinsky2_2/kandinsky2_2.js";
import {
  KandinskyV22CombinedPipeline,
  KandinskyV22Img2ImgCombinedPipeline,
  KandinskyV22InpaintCombinedPipeline,
} from "./kandinsky2_2/kandinsky2_2_combined.js";
import { KandinskyV22Img2ImgPipeline } from "./kandinsky2_2/kandinsky2_2_img2img.js";
import { KandinskyV22InpaintPipeline } from "./kandinsky2_2/kandinsky2_2_inpaint.js";
import { KandinskyV22PriorPipeline } from "./kandinsky2_2/kandinsky2_2_prior.js";
import { KandinskyV22PriorEmb2EmbPipeline } from "./kandinsky2_2/kandinsky2_2_prior_emb2emb.js";
import { InstructPix2PixPipeline } from "./stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionPipeline } from "./stable_diffusion/stable_diffusion.js";
import { StableDiffusionImg2ImgPipeline } from "./stable_diffusion/stable_diffusion_img2img.js";
import { StableDiffusionInpaintPipeline } from "./stable_diffusion/stable_diffusion_inpaint.js";
import { StableDiffusionXLPipeline } from "./stable_diffusion_xl/stable_diffusion_xl.js";
import { StableDiffusionXLImg2ImgPipeline } from "./stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInpaintPipeline } from "./stable_diffusion_xl/stable_diffusion_xl_inpaint.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "./stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { StableDiffusionLatentUpscalePipeline } from "./upscale/stable_diffusion_latent_upscale.js";
import { StableDiffusionUpscalePipeline } from "./upscale/stable_diffusion_upscale.js";

// biome-ignore lint/suspicious/noExplicitAny: each class has components of its own
type AnyPipelineClass = PipelineClass<any, DiffusionPipeline>;

/** Every pipeline that can be loaded. */
const PIPELINES: readonly AnyPipelineClass[] = [
  InstructPix2PixPipeline,
  KandinskyV22Pipeline,
  KandinskyV22CombinedPipeline,
  KandinskyV22Img2ImgPipeline,
  KandinskyV22Img2ImgCombinedPipeline,
  KandinskyV22InpaintPipeline,
  KandinskyV22InpaintCombinedPipeline,
  KandinskyV22PriorPipeline,
  KandinskyV22PriorEmb2EmbPipeline,
  StableDiffusionControlNetImg2ImgPipeline,
  StableDiffusionControlNetInpaintPipeline,
  StableDiffusionControlNetPipeline,
  StableDiffusionPipeline,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionInpaintPipeline,
  StableDiffusionLatentUpscalePipeline,
  StableDiffusionUpscalePipeline,
  StableDiffusionXLControlNetImg2ImgPipeline,
  StableDiffusionXLControlNetPipeline,
  StableDiffusionXLPipeline,
  StableDiffusionXLImg2ImgPipeline,
  StableDiffusionXLInpaintPipeline,
  StableDiffusionXLInstructPix2PixPipeline,
];

/** The names of all pipelines' components, for options whose pipeline is not known yet. */
export function anyComponentNames(): OptionNames<object> {
  return Object.assign({}, ...PIPELINES.map(({ description }) => componentNames(description)));
}

/**
 * The pipeline of a class name in diffusers.
 *
 * @throws `ERR_CONFIG` listing the known names
 */
export function pipelineFromClassName(className: string): AnyPipelineClass {
  const found = PIPELINES.find(({ description }) => description.className === className);
  if (found) return found;
  const known = PIPELINES.map(({ description }) => description.className).join(", ");
  throw new InstructPix2PixError("ERR_CONFIG", `unknown pipeline class ${quote(className)}; known: ${known}`);
}

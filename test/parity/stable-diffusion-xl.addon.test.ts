import { describe } from "vitest";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionXLPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
import { StableDiffusionXLImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInpaintPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_inpaint.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { replay } from "./replay.js";

describe("text to image, image to image, and refining", () =>
  replay("sdxl-img2img", { StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline }));
describe("InstructPix2Pix", () => replay("sdxl-ip2p", { StableDiffusionXLInstructPix2PixPipeline }));
describe("inpainting", () => replay("sdxl-inpaint", { StableDiffusionXLInpaintPipeline }));
describe("the scale of guidance as an input of the UNet", () =>
  replay("guidance-embedding", {
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    StableDiffusionXLImg2ImgPipeline,
  }));

import { describe } from "vitest";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { StableDiffusionInpaintPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { replay } from "./replay.js";

// Of two prompts, two images and two results for each, the reference pairs rows 1 and 2 wrongly.
const WELL_PAIRED = [0, 3];

describe("text to image", () => replay("text2img", { StableDiffusionPipeline }));
describe("image to image", () => replay("img2img", { StableDiffusionImg2ImgPipeline }, { 6: WELL_PAIRED }));
describe("inpainting", () => replay("inpaint", { StableDiffusionInpaintPipeline }, { 2: WELL_PAIRED }));
describe("InstructPix2Pix", () =>
  replay("ip2p-more", { StableDiffusionInstructPix2PixPipeline: InstructPix2PixPipeline }, { 1: WELL_PAIRED }));

// What scripts/record-stable-diffusion.py records: components given, images and masks of every kind of file.
describe("components, images and masks", () =>
  replay("stable-diffusion", {
    StableDiffusionPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
  }));

import { describe } from "vitest";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { replay } from "./replay.js";

describe("text to image", () => replay("text2img", { StableDiffusionPipeline }));

// Of two prompts, two pictures and two results for each, the reference pairs rows 1 and 2 wrongly.
describe("InstructPix2Pix", () =>
  replay("ip2p-more", { StableDiffusionInstructPix2PixPipeline: InstructPix2PixPipeline }, { 1: [0, 3] }));

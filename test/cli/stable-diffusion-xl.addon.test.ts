import { describe, expect, it } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadImage, type RgbImage } from "../../lib/images/index.js";
import { StableDiffusionXLPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
import { StableDiffusionXLImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInpaintPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_inpaint.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { fixture } from "../helpers/fixtures.js";
import { writeXLFile } from "../single-file/make-xl.js";
import { ip2p, type Outcome, tinyImage, tinyModel, Workplace } from "./run-cli.js";

const base = fixture("sdxl-img2img", "model");
const refiner = fixture("sdxl-img2img", "refiner");
const editing = fixture("sdxl-ip2p", "model");
const picture = fixture("sdxl-inpaint", "image.png");
const mask = fixture("sdxl-inpaint", "mask.png");
const prompt = "a castle on a hill";
const onCpu = { device: "cpu" };
const QUICK = ["--num_threads", "1", "--device", "cpu", "--seed", "5", "--prompt", prompt, "--output", "out.png"];

async function run(args: string[], place: Workplace): Promise<Outcome> {
  return await ip2p([args[0]!, ...QUICK, ...args.slice(1)], { cwd: place.folder });
}

async function made(...args: string[]): Promise<{ image: RgbImage; outcome: Outcome }> {
  using place = new Workplace();
  const outcome = await run(args, place);
  expect(outcome).toMatchObject({ status: 0 });
  return { image: await loadImage(place.at("out.png")), outcome };
}

const sized = { prompt, numInferenceSteps: 5, height: 24, width: 32 };
const SIZED = ["--num_inference_steps", "5", "--height", "24", "--width", "32"];

describe("ip2p generate with Stable Diffusion XL", () => {
  it("makes the image that the API makes, of two prompts and sizes", async () => {
    using pipe = await StableDiffusionXLPipeline.fromPretrained(base, onCpu);
    const { images } = await pipe.run({
      ...{ ...sized, seed: 5, prompt2: "night", negativePrompt: "fog", guidanceRescale: 0.5, clipSkip: 1 },
      ...{ originalSize: [40, 50], cropsCoordsTopLeft: [3, 4], targetSize: [24, 30] },
      ...{ negativeOriginalSize: [8, 9], negativeTargetSize: [10, 11] },
    });
    const texts = ["--prompt_2=night", "--negative_prompt=fog", "--guidance_rescale=0.5", "--clip_skip=1"];
    const sizes = ["--original_size=40,50", "--crops_coords_top_left=3,4", "--target_size=24,30"];
    const negative = ["--negative_original_size=8,9", "--negative_target_size=10,11"];
    const { image } = await made("generate", "--model", base, ...SIZED, ...texts, ...sizes, ...negative);
    expect(image.equals(images[0]!)).toBe(true);
  });

  it("refines the latents of the base model, also in the masked part of an image", async () => {
    using pipe = await StableDiffusionXLPipeline.fromPretrained(base, onCpu);
    using refining = await StableDiffusionXLImg2ImgPipeline.fromPretrained(refiner, onCpu);
    const generator = new Generator("cpu", 5);
    const latents = await pipe.run({ ...sized, generator, denoisingEnd: 0.6, outputType: "latent" });
    const shared = { prompt, numInferenceSteps: 5, generator, denoisingStart: 0.6 };
    const { images } = await refining.run({ ...shared, image: latents.images });
    const more = ["--refiner", refiner, "--denoising_end", "0.6", "--json"];
    const { image, outcome } = await made("generate", "--model", base, ...SIZED, ...more);
    expect(image.equals(images[0]!)).toBe(true);
    expect(JSON.parse(outcome.stdout.trim().split("\n").at(-1)!)).toMatchObject({
      pipeline: "StableDiffusionXLPipeline",
      refiner: "StableDiffusionXLImg2ImgPipeline",
      steps: 5,
    });

    using painting = StableDiffusionXLInpaintPipeline.fromPipe(pipe);
    using retouching = StableDiffusionXLInpaintPipeline.fromPipe(refining);
    const source = new Generator("cpu", 5);
    const options = { ...sized, maskImage: mask, generator: source };
    const first = await painting.run({ ...options, image: picture, denoisingEnd: 0.8, outputType: "latent" });
    const second = await retouching.run({ ...options, image: first.images as Tensor, denoisingStart: 0.8 });
    const masked = ["--image", picture, "--mask", mask, "--refiner", refiner];
    // Guidance is that of the pipelines: 7.5 where a part is painted.
    const { image: painted } = await made("generate", "--model", base, ...SIZED, ...masked);
    expect(painted.equals(second.images[0]!)).toBe(true);
  });

  it("reads a model in one file", async () => {
    using place = new Workplace();
    const file = await writeXLFile(place.at("xl.safetensors"), base);
    const outcome = await run(["generate", "--model", file, "--config", base, ...SIZED], place);
    expect(outcome).toMatchObject({ status: 0 });
    const { image } = await made("generate", "--model", base, ...SIZED);
    expect((await loadImage(place.at("out.png"))).equals(image)).toBe(true);
  });
});

it("ip2p edit takes Stable Diffusion XL, resized to what it was trained for, or to another size", async () => {
  using pipe = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(editing, onCpu);
  const options = { prompt, numInferenceSteps: 3, seed: 5, image: picture };
  const args = ["edit", "--model", editing, "--image", picture, "--num_inference_steps", "3"];
  const { image, outcome } = await made(...args);
  expect(image.equals((await pipe.run({ ...options, maxSize: 32 })).images[0]!)).toBe(true);
  expect(outcome.stderr).not.toMatch(/stretched/);
  const { image: wide } = await made(...args, "--height=24", "--width=32", "--guidance_rescale=0.7", "--prompt_2=fog");
  const { images } = await pipe.run({ ...options, height: 24, width: 32, guidanceRescale: 0.7, prompt2: "fog" });
  expect(wide.equals(images[0]!)).toBe(true);
});

describe("refused before weights are read", () => {
  const XL = ["generate", "--model", base, ...SIZED];
  it.each([
    [[...XL, "--denoising_end=0.5"], /--denoising_end is where a refiner takes over: give --refiner too/],
    [[...XL, "--refiner", refiner, "--denoising_end=1"], /--denoising_end must be above 0 and below 1, not 1/],
    [[...XL, "--refiner", refiner, "--denoising_end=0.01"], /leaves no step/],
    [[...XL, "--original_size=3"], /--original_size takes two numbers, not 1/],
    [[...XL, "--clip_skip=3"], /--clip_skip must be a whole number in 0\.\.2/],
    [["edit", "--model", tinyModel, "--image", tinyImage, "--prompt_2=a"], /--prompt_2 is for Stable Diffusion XL/],
    [["edit", "--model", tinyModel, "--image", tinyImage, "--height=64"], /--height is for Stable Diffusion XL/],
    [["generate", "--model", editing, ...SIZED], /8 channels/],
  ])("%j", async (args, message) => {
    using place = new Workplace();
    const outcome = await run(args, place);
    expect(outcome.stderr).toMatch(message);
    expect(outcome.status).not.toBe(0);
    expect(place.list()).toEqual([]);
  });
});

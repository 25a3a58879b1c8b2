import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodePrompt } from "../../lib/conditioning/encode-prompt.js";
import { Tensor } from "../../lib/core/tensor.js";
import {
  AutoPipelineForImage2Image,
  AutoPipelineForInpainting,
  AutoPipelineForText2Image,
} from "../../lib/pipelines/auto.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionXLPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
import { StableDiffusionXLImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInpaintPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_inpaint.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { native } from "../../lib/runtime/native.js";
import { deviation } from "../helpers/compare.js";
import { fixture } from "../helpers/fixtures.js";

const BASE = fixture("sdxl-img2img", "model");
const REFINER = fixture("sdxl-img2img", "refiner");
const image = fixture("sdxl-img2img", "image.png");
const quick = {
  prompt: "a castle",
  numInferenceSteps: 2,
  seed: 1,
  height: 16,
  width: 16,
  outputType: "tensor",
} as const;

let pipe: StableDiffusionXLPipeline;
beforeAll(async () => {
  await native().setThreads(1);
  pipe = await StableDiffusionXLPipeline.fromPretrained(BASE, { device: "cpu" });
});
afterAll(() => pipe.dispose());

async function difference(a: Tensor, b: Tensor): Promise<number> {
  const { absolute } = await deviation(a, b);
  return absolute;
}

describe("prompts", () => {
  test("given embeddings are the same as the prompt that they encode, with its pooled ones", async () => {
    const { images: expected } = await pipe.run({ ...quick, negativePrompt: "dark" });
    const positive = await encodePrompt(pipe, "a castle");
    const negative = await encodePrompt(pipe, "dark");
    const { images } = await pipe.run({
      ...{ ...quick, prompt: undefined, ...positive },
      negativePromptEmbeds: negative.promptEmbeds,
      negativePooledPromptEmbeds: negative.pooledPromptEmbeds,
    });
    expect(await difference(images, expected)).toBeLessThan(1e-6);
  });

  test("a negative prompt that is left out is zeros, or the empty one", async () => {
    const run = async (from: StableDiffusionXLPipeline, more: object) => (await from.run({ ...quick, ...more })).images;
    const zeros = await run(pipe, {});
    const empty = await run(pipe, { negativePrompt: "" });
    expect(await difference(zeros, empty)).toBeGreaterThan(1e-5);
    const settled = StableDiffusionXLPipeline.fromPipe(pipe, { forceZerosForEmptyPrompt: false });
    expect(await difference(await run(settled, {}), empty)).toBeLessThan(1e-6);
    settled.dispose();
  });

  test("weights change the image; prompts of both encoders come to one length", async () => {
    const run = async (more: object) => (await pipe.run({ ...quick, ...more })).images;
    const plain = await run({ promptWeighting: "compel" });
    expect(await difference(plain, await run({}))).toBeLessThan(1e-5);
    expect(await difference(await run({ prompt: "a (castle)1.5", promptWeighting: "compel" }), plain)).toBeGreaterThan(
      1e-6,
    );
    const long = await run({
      prompt: '("a castle", "a hill").and()',
      prompt2: "night",
      negativePrompt: "dark",
      promptWeighting: "compel",
    });
    expect(long.shape).toEqual(plain.shape);
  });
});

test("rows of several prompts do not affect each other", async () => {
  const latents = await Tensor.randn([2, 4, 8, 8]);
  const sizes = { negativeOriginalSize: [8, 8], negativeTargetSize: [9, 9] } as const;
  const { images: both } = await pipe.run({ ...quick, ...sizes, prompt: ["a castle", "a boat"], latents });
  for (const [i, prompt] of ["a castle", "a boat"].entries()) {
    const { images } = await pipe.run({ ...quick, ...sizes, prompt, latents: await latents.slice(0, i, i + 1) });
    expect(await difference(images, await both.slice(0, i, i + 1))).toBeLessThan(1e-4);
  }
});

test("the step callback sees and replaces pooled text and sizes, guided or not", async () => {
  const bySizes = await pipe.run({ ...quick, originalSize: [64, 64], guidanceInterval: [0, 0.5] });
  const { images } = await pipe.run({
    ...{ ...quick, numInferenceSteps: 2, guidanceInterval: [0, 0.5] as const },
    async onStep({ step, addTimeIds, addTextEmbeds }) {
      expect(addTimeIds!.shape).toEqual([2, 6]);
      expect(addTextEmbeds!.shape).toEqual([2, 40]);
      expect(Array.from(await addTimeIds!.toArray(), Number)[6]).toBe(step === 0 ? 16 : 64);
      return { addTimeIds: Tensor.from([16, 16, 0, 0, 16, 16, 64, 64, 0, 0, 16, 16], [2, 6]) };
    },
  });
  // Only the first step differs.
  const plain = await pipe.run({ ...quick, guidanceInterval: [0, 0.5] });
  expect(await difference(images, plain.images)).toBeGreaterThan(1e-7);
  expect(await difference(images, bySizes.images)).toBeGreaterThan(1e-7);
});

test("AutoPipelines and fromPipe know the family; a refiner goes on with the base's latents", async () => {
  using text = await AutoPipelineForText2Image.fromPretrained(BASE, { device: "cpu" });
  expect(text).toBeInstanceOf(StableDiffusionXLPipeline);
  using refiner = await AutoPipelineForImage2Image.fromPretrained(REFINER, { device: "cpu" });
  expect(refiner).toBeInstanceOf(StableDiffusionXLImg2ImgPipeline);
  expect(refiner).toMatchObject({ textEncoder: null, requiresAestheticsScore: true, forceZerosForEmptyPrompt: false });
  const parts = { prompt: "a castle", numInferenceSteps: 10, seed: 1 };
  const { images: latents } = await (text as StableDiffusionXLPipeline).run({
    ...{ ...parts, height: 24, width: 16, denoisingEnd: 0.6 },
    outputType: "latent",
  });
  const { images } = await (refiner as StableDiffusionXLImg2ImgPipeline).run({
    ...parts,
    image: latents,
    denoisingStart: 0.6,
  });
  expect(images[0]).toMatchObject({ width: 16, height: 24 });
  using painting = AutoPipelineForInpainting.fromPipe(refiner);
  expect(painting).toMatchObject({ className: "StableDiffusionXLInpaintPipeline", requiresAestheticsScore: true });
  using shared = AutoPipelineForImage2Image.fromPipe(pipe);
  expect(shared).toBeInstanceOf(StableDiffusionXLImg2ImgPipeline);
  expect(shared.unet).toBe(pipe.unet);
});

describe("refused", () => {
  const refused = (code: string, message: RegExp) =>
    expect.objectContaining({ code, message: expect.stringMatching(message) });

  test.each([
    [{ prompt2: 3 }, /prompt2/],
    [{ prompt2: ["a", "b"] }, /2 texts were given as prompt2 for 1 prompts/],
    [{ originalSize: [1] }, /originalSize must be two numbers/],
    [{ denoisingEnd: 0 }, /denoisingEnd/],
    [{ denoisingEnd: 0.01 }, /leaves no step/],
    [{ clipSkip: 3 }, /clipSkip must be a whole number in 0..2/],
    [{ prompt: undefined, promptEmbeds: true }, /promptEmbeds must be a Tensor/],
    [{ promptWeighting: "compel", prompt: '("a", "b").and(1, 0.5)' }, /takes no weights/],
  ])("%j", async (more, message) => {
    await expect(pipe.run({ ...quick, ...more } as never)).rejects.toEqual(refused("ERR_INVALID_ARGUMENT", message));
  });

  test("embeddings without their pooled ones, and of another width", async () => {
    const { promptEmbeds, pooledPromptEmbeds } = await encodePrompt(pipe, "a castle");
    const without = { ...quick, prompt: undefined, promptEmbeds };
    await expect(pipe.run(without)).rejects.toEqual(refused("ERR_INVALID_ARGUMENT", /pooledPromptEmbeds together/));
    const narrow = { ...without, pooledPromptEmbeds: await pooledPromptEmbeds.slice(1, 0, 3) };
    await expect(pipe.run(narrow)).rejects.toEqual(refused("ERR_INVALID_ARGUMENT", /must be \[1,40\]/));
  });

  test("parts of the denoising that do not fit, and image latents of another size", async () => {
    using refiner = await StableDiffusionXLImg2ImgPipeline.fromPretrained(REFINER, { device: "cpu" });
    const options = { prompt: "a castle", image, numInferenceSteps: 4 };
    const order = refiner.run({ ...options, denoisingStart: 0.8, denoisingEnd: 0.5 });
    await expect(order).rejects.toEqual(refused("ERR_INVALID_ARGUMENT", /must be below denoisingEnd/));
    await expect(refiner.run({ ...options, denoisingStart: 1 })).rejects.toEqual(
      refused("ERR_INVALID_ARGUMENT", /denoisingStart/),
    );
    const EDIT = fixture("sdxl-ip2p", "model");
    using edit = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(EDIT, { device: "cpu" });
    const wrong = edit.run({ ...options, image: await Tensor.zeros([1, 4, 3, 3]) });
    await expect(wrong).rejects.toEqual(refused("ERR_INVALID_ARGUMENT", /height and width theirs/));
  });

  test("inpainting that goes on with latents as noise, at another size, or without a mask", async () => {
    using painting = StableDiffusionXLInpaintPipeline.fromPipe(pipe);
    const options = { prompt: "a door", image, maskImage: image, height: 16, width: 16, numInferenceSteps: 4 };
    const latents = await Tensor.zeros([1, 4, 8, 8]);
    const fails = (more: object, message: RegExp) =>
      expect(painting.run({ ...options, ...more })).rejects.toEqual(refused("ERR_INVALID_ARGUMENT", message));
    await fails({ denoisingStart: 0.5, latents }, /give the latents to go on with as image/);
    await fails({ height: 20 }, /height must be a multiple of 8, not 20: give 16 or 24/);
    await fails({ maskImage: undefined }, /maskImage/);
    await fails({ strength: 0.1 }, /strength 0.1 leaves none of the 4 steps/);
    await fails({ image: await Tensor.zeros([1, 4, 9, 9]) }, /latents of 9×9/);
  });

  test("models of another kind, before their weights are read", async () => {
    const load = StableDiffusionXLPipeline.fromPretrained(REFINER, { device: "cpu" });
    await expect(load).rejects.toEqual(refused("ERR_CONFIG", /requiresAestheticsScore: true/));
    const edit = StableDiffusionXLPipeline.fromPretrained(fixture("sdxl-ip2p", "model"), { device: "cpu" });
    await expect(edit).rejects.toEqual(refused("ERR_CONFIG", /8 channels/));
    const other = StableDiffusionPipeline.fromPretrained(BASE, { device: "cpu" });
    await expect(other).rejects.toEqual(refused("ERR_CONFIG", /cross_attention_dim/));
    const setting = { forceZerosForEmptyPrompt: 1 as never };
    await expect(StableDiffusionXLPipeline.fromPretrained(BASE, setting)).rejects.toEqual(
      refused("ERR_INVALID_ARGUMENT", /forceZerosForEmptyPrompt must be true or false/),
    );
  });
});

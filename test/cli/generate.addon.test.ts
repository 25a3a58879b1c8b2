import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";
import { imageGrid, loadImage, RgbImage } from "../../lib/images/index.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { StableDiffusionInpaintPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { EulerDiscreteScheduler } from "../../lib/schedulers/index.js";
import { fixture } from "../helpers/fixtures.js";
import { writeSingleFile } from "../single-file/make.js";
import { editArguments, ip2p, ip2pHere, type Outcome, tinyImage, tinyModel, Workplace } from "./run-cli.js";

const textModel = fixture("text2img", "model");
const pictureModel = fixture("img2img", "model");
const inpaintModel = fixture("inpaint", "model");
const picture = fixture("inpaint", "image0.png");
const mask = fixture("inpaint", "mask0.png");
const prompt = "a fantasy landscape";
/** The options of the runs of the API that stand beside these command lines. */
const shared = { prompt, numInferenceSteps: 3, seed: 5 };

/** Arguments of a quick run that works; later ones take precedence. */
function generateArguments(...more: string[]): string[] {
  return [
    ...["generate", "--model", textModel, "--prompt", prompt, "--output", "out.png", "--num_inference_steps", "3"],
    ...["--num_threads", "1", "--device", "cpu", "--seed", "5", ...more],
  ];
}

/** Images of a command that must succeed without a word on standard error. */
async function generated(args: string[], outputs = ["out.png"], stderr = ""): Promise<RgbImage[]> {
  using place = new Workplace();
  const outcome = await ip2pHere(args, { cwd: place.folder });
  expect(outcome).toMatchObject({ status: 0, stderr });
  expect(place.list()).toEqual(outputs);
  return await Promise.all(outputs.map((name) => loadImage(place.at(name))));
}

function expectSame(found: readonly RgbImage[], expected: readonly RgbImage[]): void {
  expect(found.map(({ width, height }) => [width, height])).toEqual(
    expected.map(({ width, height }) => [width, height]),
  );
  for (const [i, each] of found.entries()) expect(each.equals(expected[i]!)).toBe(true);
}

describe("ip2p generate", () => {
  it("makes the images from text that the API makes", async () => {
    const found = await generated(
      generateArguments(
        ...["--negative-prompt", "blurry", "--num_images_per_prompt=2", "--height", "40", "--width=56"],
        ...["--guidance_scale", "5", "--guidance_rescale", "0.7", "--clip_skip", "1"],
      ),
      ["out-1.png", "out-2.png"],
    );
    using pipeline = await StableDiffusionPipeline.fromPretrained(textModel, { device: "cpu" });
    const { images } = await pipeline.run({
      ...{ ...shared, negativePrompt: "blurry", numImagesPerPrompt: 2, height: 40, width: 56 },
      ...{ guidanceScale: 5, guidanceRescale: 0.7, clipSkip: 1 },
    });
    expectSame(found, images);
    const plain = await pipeline.run({ ...shared, height: 40, width: 56 });
    expect(plain.images[0]!.equals(found[0]!)).toBe(false);
  });

  it("takes the steps one by one, by their timesteps or their noise", async () => {
    using pipeline = await StableDiffusionPipeline.fromPretrained(textModel, { device: "cpu" });
    pipeline.scheduler = EulerDiscreteScheduler.fromConfig(pipeline.scheduler.config);
    const euler = ["--scheduler", "EulerDiscreteScheduler"];
    const byTime = await generated(generateArguments(...euler, "--timesteps", "801, 401,1"));
    expectSame(byTime, (await pipeline.run({ ...shared, timesteps: [801, 401, 1] })).images);
    const byNoise = await generated(generateArguments(...euler, "--sigmas=9.5,3,0.4,0"));
    expectSame(byNoise, (await pipeline.run({ ...shared, sigmas: [9.5, 3, 0.4, 0] })).images);
    expect(byNoise[0]!.equals(byTime[0]!)).toBe(false);
  });

  it("reads weights in prompts, as edit does", async () => {
    const weighted = "a (fantasy)1.5 landscape++";
    const flags = ["--prompt_weighting", "compel", "--prompt", weighted, "--negative_prompt", "fog--"];
    const options = { prompt: weighted, negativePrompt: "fog--", promptWeighting: "compel" } as const;
    using pipeline = await StableDiffusionPipeline.fromPretrained(textModel, { device: "cpu" });
    const found = await generated(generateArguments(...flags));
    expectSame(found, (await pipeline.run({ ...shared, ...options })).images);
    const unweighted = await pipeline.run({ ...shared, ...options, promptWeighting: "none" });
    expect(unweighted.images[0]!.equals(found[0]!)).toBe(false);

    using editor = await InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" });
    const edited = await generated(editArguments(...flags));
    const expected = await editor.run({ ...options, image: tinyImage, seed: 0, numInferenceSteps: 2 });
    expectSame(edited, expected.images);
  });

  it("makes an image from an image", async () => {
    const flags = ["--model", pictureModel, "--image", picture];
    using pipeline = await StableDiffusionImg2ImgPipeline.fromPretrained(pictureModel, { device: "cpu" });
    const byDefault = await generated(generateArguments(...flags));
    // The image has 44×60 pixels, the model was trained for 48.
    expectSame(byDefault, (await pipeline.run({ ...shared, image: picture, maxSize: 48 })).images);
    const closer = await generated(
      generateArguments(...flags, "--strength", "0.4", "--clip_skip=1", "--max_size=none"),
    );
    const expected = await pipeline.run({ ...shared, image: picture, strength: 0.4, clipSkip: 1 });
    expectSame(closer, expected.images);
    expect(closer[0]!.equals(byDefault[0]!)).toBe(false);
  });

  it.each([
    ["an inpainting model", inpaintModel],
    ["a text-to-image model", textModel],
  ])("paints the masked part of an image anew, with %s", async (_, model) => {
    const size = ["--height=48", "--width=40"];
    const flags = ["--model", model, "--image", picture, "--mask", mask];
    using pipeline = await StableDiffusionInpaintPipeline.fromPretrained(model, { device: "cpu" });
    const options = { ...shared, image: picture, maskImage: mask, height: 48, width: 40 };
    const whole = await generated(generateArguments(...flags, ...size), ["out.png"], expect.any(String));
    expectSame(whole, (await pipeline.run(options)).images);
    const partly = await generated(
      generateArguments(...flags, ...size, "--strength", "0.7"),
      ["out.png"],
      expect.any(String),
    );
    expectSame(partly, (await pipeline.run({ ...options, strength: 0.7 })).images);
    expect(partly[0]!.equals(whole[0]!)).toBe(false);
    const cropped = await generated(generateArguments(...flags, ...size, "--padding_mask_crop", "4"));
    expectSame(cropped, (await pipeline.run({ ...options, paddingMaskCrop: 4 })).images);
  });

  it("takes a model in one file", async () => {
    using place = new Workplace();
    const narrow = async (tensors: Record<string, Tensor>, name: string) => {
      tensors[name] = await tensors[name]!.slice(1, 0, 4);
    };
    await writeSingleFile(place.at("model.safetensors"), "ip2p-tiny", (tensors) =>
      narrow(tensors, "model.diffusion_model.input_blocks.0.0.weight"),
    );
    const unet = join(place.copyOfModel("folder"), "unet");
    const config = JSON.parse(readFileSync(join(unet, "config.json"), "utf8")) as object;
    writeFileSync(join(unet, "config.json"), JSON.stringify({ ...config, in_channels: 4 }));
    const weights = await loadSafetensors(join(unet, "diffusion_pytorch_model.safetensors"));
    await narrow(weights, "conv_in.weight");
    await saveSafetensors(join(unet, "diffusion_pytorch_model.safetensors"), weights);
    const file = ["--model", "model.safetensors", "--config", "folder"];
    const run = (...more: string[]) =>
      ip2pHere(generateArguments("--height=40", "--width=40", ...more), { cwd: place.folder });
    expect(await run(...file)).toMatchObject({ status: 0, stderr: "" });
    expect(await run("--model=folder", "--output=folder.png")).toMatchObject({ status: 0, stderr: "" });
    expectSame([await loadImage(place.at("out.png"))], [await loadImage(place.at("folder.png"))]);
    const message = (text: RegExp) => ({ status: 1, stderr: expect.stringMatching(text) });
    expect(await run(...file, "--height=42")).toMatchObject(message(/height must be a multiple of 8/));
    expect(await ip2pHere(editArguments(...file), { cwd: place.folder })).toMatchObject(
      message(/it is a text-to-image model.*\(ip2p generate\)$/m),
    );
  });

  it("lays results side by side, behind the image that they were made from", async () => {
    const given = ["--grid", "--num_images_per_prompt=2"];
    const many = { ...shared, numImagesPerPrompt: 2 };
    using text = await StableDiffusionPipeline.fromPretrained(textModel, { device: "cpu" });
    const [without] = await generated(generateArguments(...given));
    expect(without!.equals(imageGrid((await text.run(many)).images))).toBe(true);
    using pipeline = await StableDiffusionImg2ImgPipeline.fromPretrained(pictureModel, { device: "cpu" });
    const [beside] = await generated(
      generateArguments(...given, "--model", pictureModel, "--image", picture, "--max_size=none"),
    );
    const { images } = await pipeline.run({ ...many, image: picture });
    const [first] = images;
    const original = await (await loadImage(picture)).resize(first!.width, first!.height);
    expect(beside!.equals(imageGrid([original, ...images]))).toBe(true);
  });

  it("tells a program everything in JSON lines", async () => {
    using place = new Workplace();
    const { status, stdout, stderr } = await ip2p(
      generateArguments("--json", "--model", pictureModel, "--image", picture, "--scheduler=DDIMScheduler"),
      { cwd: place.folder },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ event }) => event)).toEqual([
      ...["note", "loading", ...Array<string>(4).fill("stage"), "loaded", "stage", "stage"],
      ...["step", "step", "stage", "stage", "done"],
    ]);
    expect(events[0]).toEqual({
      event: "note",
      message:
        "the image of 44×60 pixels is resized to 32×48, what the model was trained for; --max_size says another size, --max_size none keeps all",
    });
    const number = expect.any(Number);
    expect(events[9]).toEqual({ event: "step", step: 1, total_steps: 2, timestep: number, steps_per_second: null });
    const { width, height } = await loadImage(place.at("out.png"));
    expect(events.at(-1)).toEqual({
      ...{ event: "done", outputs: ["out.png"], pipeline: "StableDiffusionImg2ImgPipeline", width, height, seed: 5 },
      ...{ scheduler: "DDIMScheduler", device: "cpu", dtype: "float32", steps: 2, steps_per_second: number },
      ...{ load_seconds: number, generate_seconds: number, total_seconds: number, peak_memory_bytes: number },
    });
  });
});

/** The one line on standard error; more output fails the test. */
function onlyLine({ status, stderr, stdout }: Outcome, expectedStatus: number): string {
  expect(stderr).toMatch(/^ip2p: [^\n]+\n$/);
  expect(stderr).not.toMatch(/internal error|undefined|\[object/);
  // Nothing was loaded.
  expect(stdout).toBe("");
  expect(status).toBe(expectedStatus);
  return stderr.slice("ip2p: ".length, -1);
}

describe("is refused in one line, before the model is loaded:", () => {
  const inpaint = ["--model", inpaintModel, "--image", picture, "--mask", mask];
  const cases: [what: string, args: string[], status: number, expected: RegExp][] = [
    ["no model", ["--model", "./nowhere"], 1, /nowhere: no such folder/],
    [
      "a strength above 1",
      ["--image", picture, "--strength", "1.2"],
      2,
      /--strength takes a number from 0 to 1, not 1.2$/,
    ],
    [
      "a strength below 0",
      ["--image", picture, "--strength=-0.1"],
      2,
      /--strength takes a number from 0 to 1, not -0.1$/,
    ],
    [
      "a strength that leaves no step",
      ["--image", picture, "--strength", "0.3", "--scheduler=DDIMScheduler"],
      1,
      /^strength 0.3 leaves none of the 3 steps: .* --num_inference_steps larger$/,
    ],
    ["a size that is none", ["--image", picture, "--max_size=0"], 2, /--max_size must be .*not "0"$/],
    ["a size without an image", ["--max_size=64"], 2, /^generate: --max_size .*give --image too$/],
    [
      "two sizes",
      ["--image", picture, "--mask", mask, "--max_size=64", "--width=64"],
      2,
      /give --max_size or --width, not both$/,
    ],
    ["a strength without an image", ["--strength", "0.5"], 2, /^generate: --strength .*give --image too$/],
    ["a mask without an image", ["--mask", mask], 2, /^generate: --mask .*give --image too$/],
    [
      "a margin without a mask",
      ["--image", picture, "--padding_mask_crop=4"],
      2,
      /^generate: --padding_mask_crop .*give --mask too$/,
    ],
    [
      "a mask of another size, to be cut out with the image",
      [...inpaint, "--mask", tinyImage, "--padding_mask_crop=4"],
      1,
      /^with --padding_mask_crop the mask must have the image's size, 44×60, not 40×56$/,
    ],
    ["a mask that is black", [...inpaint, "--mask", "black.png", "--padding_mask_crop=4"], 1, /^the mask is black/],
    ["a mask that is absent", ["--image", picture, "--mask=absent.png"], 1, /"absent.png" does not exist$/],
    ["a height with an image alone", ["--image", picture, "--height=40"], 2, /--height does not go with --image alone/],
    [
      "a height that the model cannot make",
      ["--height=42"],
      1,
      /^height must be a multiple of 8, not 42: give 40 or 48$/,
    ],
    ["a width that the model cannot make", [...inpaint, "--width=42"], 1, /^width must be a multiple of 8, not 42/],
    [
      "a rescaled guidance with an image",
      ["--image", picture, "--guidance_rescale=0.5"],
      2,
      /--guidance_rescale is for text alone/,
    ],
    ["timesteps and sigmas", ["--timesteps=5,1", "--sigmas=5,1"], 2, /give --timesteps or --sigmas, not both$/],
    [
      "timesteps that are no numbers",
      ["--timesteps=5,,1"],
      2,
      /--timesteps takes a list of numbers of at least 0, separated by commas, not "5,,1"/,
    ],
    ["timesteps that the scheduler does not take", ["--timesteps=801,1"], 1, /PNDMScheduler.*timesteps/],
    ["more steps than the model has", ["--num_inference_steps=1001"], 1, /num_inference_steps.*1001.*1\.\.1000/],
    ["more skipped layers than there are", ["--clip_skip=99"], 1, /^--clip_skip must be .*, not 99$/],
    [
      "skipped layers beside weights",
      ["--clip_skip=1", "--prompt_weighting=compel"],
      2,
      /--clip_skip and --prompt_weighting cannot be combined$/,
    ],
    [
      "a weighted prompt without meaning",
      ["--prompt_weighting=compel", "--prompt", '("a", "b").blend(1)'],
      1,
      /\.blend\(\) has 1 weights for 2 prompts/,
    ],
    [
      "guidance that ends before it starts",
      ["--guidance_start=0.8", "--guidance_end=0.2"],
      2,
      /--guidance_start is 0.8/,
    ],
    [
      "an InstructPix2Pix model",
      ["--model", tinyModel],
      1,
      /takes 8 channels, not the 4 of a text-to-image model: it is an InstructPix2Pix model, .*\(ip2p edit\)$/,
    ],
    [
      "an InstructPix2Pix model with an image",
      ["--model", tinyModel, "--image", picture],
      1,
      /it is an InstructPix2Pix model, .*\(ip2p edit\)$/,
    ],
    [
      "an InstructPix2Pix model with a mask",
      [...inpaint, "--model", tinyModel],
      1,
      /not the 9 of an inpainting model or the 4 of a text-to-image model: it is an InstructPix2Pix model, .*\(ip2p edit\)$/,
    ],
    [
      "an inpainting model without a mask",
      ["--model", inpaintModel, "--image", picture],
      1,
      /it is an inpainting model, .*\(ip2p generate with --image and --mask\)$/,
    ],
    ["an output in a missing folder", ["--output", "absent/out.png"], 1, /the folder "absent" does not exist$/],
  ];

  it.each(cases)("%s", async (_, args, status, expected) => {
    using place = new Workplace();
    await new RgbImage(44, 60, new Uint8Array(44 * 60 * 3)).save(place.at("black.png"));
    expect(onlyLine(await ip2pHere(generateArguments(...args), { cwd: place.folder }), status)).toMatch(expected);
    expect(place.list()).toEqual(["black.png"]);
  });

  it.each([
    [
      "text-to-image",
      textModel,
      /not the 8 of an InstructPix2Pix model: it is a text-to-image model, .*\(ip2p generate\)$/,
    ],
    ["inpainting", inpaintModel, /it is an inpainting model, .*\(ip2p generate with --image and --mask\)$/],
  ])("a %s model for ip2p edit", async (_, model, expected) => {
    using place = new Workplace();
    const outcome = await ip2pHere(editArguments("--model", model), { cwd: place.folder });
    expect(onlyLine(outcome, 1)).toMatch(expected);
    expect(place.list()).toEqual([]);
  });
});

describe("a shape that changes is warned of:", () => {
  const run = async (...args: string[]) => {
    using place = new Workplace();
    const paint = ["--model", inpaintModel, "--image", "picture.png", "--mask", "mask.png", "--num_inference_steps=1"];
    const original = await loadImage(picture);
    await (await original.resize(80, 60)).save(join(place.folder, "picture.png"));
    const [width, height] = args.shift()!.split("×").map(Number);
    await (await (await loadImage(mask)).resize(width!, height!)).save(join(place.folder, "mask.png"));
    const outcome = await ip2p(generateArguments(...paint, ...args), { cwd: place.folder });
    expect(outcome.status).toBe(0);
    return outcome.stderr;
  };

  it("the mask's", async () => {
    const size = ["--width=64", "--height=48"];
    expect(await run("60×80", ...size)).toBe(
      "ip2p: warning: the mask has 60×80 pixels and the image 80×60: the mask is stretched to the image's shape\n",
    );
    // Of another size, but of the same shape.
    expect(await run("40×30", ...size)).toBe("");
  });

  it("the image's", async () => {
    expect(await run("80×60", "--width=48", "--height=48")).toBe(
      "ip2p: warning: the image of 80×60 pixels is stretched to 48×48; --height and --width say another size\n",
    );
    // Only the part around the mask is computed, and put back.
    expect(await run("80×60", "--width=48", "--height=48", "--padding_mask_crop=2")).toBe("");
  });
});

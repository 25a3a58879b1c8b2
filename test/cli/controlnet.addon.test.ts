import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cannyEdges } from "../../lib/images/canny.js";
import { loadImage, type RgbImage } from "../../lib/images/index.js";
import { StableDiffusionControlNetPipeline } from "../../lib/pipelines/controlnet/controlnet.js";
import { StableDiffusionControlNetImg2ImgPipeline } from "../../lib/pipelines/controlnet/controlnet_img2img.js";
import { StableDiffusionXLControlNetPipeline } from "../../lib/pipelines/controlnet/controlnet_sd_xl.js";
import { StableDiffusionXLControlNetImg2ImgPipeline } from "../../lib/pipelines/controlnet/controlnet_sd_xl_img2img.js";
import { fixture } from "../helpers/fixtures.js";
import { ip2pHere, type Outcome, Workplace } from "./run-cli.js";

const model = fixture("controlnet", "model");
const [net, second] = [join(model, "controlnet"), join(model, "controlnet_1")];
const xlModel = fixture("sdxl-img2img", "model");
const xlNet = fixture("controlnet-more", "controlnet2");
const picture = fixture("controlnet", "image0.png");
const [control, other] = [fixture("controlnet", "control0.png"), fixture("controlnet", "control1.png")];
const prompt = "a fantasy landscape";
const shared = { prompt, numInferenceSteps: 3, seed: 5 };
const onCpu = { device: "cpu" };

async function run(place: Workplace, args: readonly string[]): Promise<Outcome> {
  const quick = ["--prompt", prompt, "--output=out.png", "--num_inference_steps=3", "--seed=5"];
  return await ip2pHere(["generate", ...quick, "--num_threads=1", "--device=cpu", ...args], { cwd: place.folder });
}

/** The image of a command that must succeed without a word on standard error. */
async function made(...args: string[]): Promise<RgbImage> {
  using place = new Workplace();
  expect(await run(place, args)).toMatchObject({ status: 0, stderr: "" });
  return await loadImage(place.at("out.png"));
}

function expectSame(found: RgbImage, { images: [expected] }: { images: readonly RgbImage[] }): void {
  expect([found.width, found.height]).toEqual([expected!.width, expected!.height]);
  expect(found.equals(expected!)).toBe(true);
}

describe("ip2p generate --controlnet", () => {
  it("makes the images from text and control images that the API makes", async () => {
    const one = ["--model", model, "--controlnet", net, "--control_image", control];
    using pipe = await StableDiffusionControlNetPipeline.fromPretrained(model, { ...onCpu, controlnet: net });
    const plain = await made(...one);
    expectSame(plain, await pipe.run({ ...shared, image: control }));
    const numbers = [
      "--controlnet_conditioning_scale=1.4",
      "--control_guidance_start=0.2",
      "--control_guidance_end=0.7",
    ];
    const options = { controlnetConditioningScale: 1.4, controlGuidanceStart: 0.2, controlGuidanceEnd: 0.7 };
    const less = await made(...one, ...numbers, "--guess_mode", "--height=40", "--width=48", "--clip_skip=1");
    const more = { ...options, guessMode: true, height: 40, width: 48, clipSkip: 1 };
    expectSame(less, await pipe.run({ ...shared, ...more, image: control }));
    expect(less.equals(plain)).toBe(false);
  });

  it("makes images from an image, led by its edges", async () => {
    using pipe = await StableDiffusionControlNetImg2ImgPipeline.fromPretrained(model, { ...onCpu, controlnet: net });
    const thresholds = ["--canny_low_threshold=30", "--canny_high_threshold=90"];
    const found = await made(
      ...[
        "--model",
        model,
        "--controlnet",
        net,
        "--image",
        picture,
        "--control=canny",
        "--strength=0.7",
        ...thresholds,
      ],
    );
    const controlImage = await cannyEdges(picture, 30, 90);
    expectSame(found, await pipe.run({ ...shared, image: picture, controlImage, strength: 0.7 }));
    const [unled, all] = [await cannyEdges(picture, 2040, 2040), await cannyEdges(picture, 0, 0)];
    const { images } = await pipe.run({ ...shared, image: picture, controlImage: unled, strength: 0.7 });
    expect([images[0]!.equals(found), all.equals(controlImage)]).toEqual([false, false]);
  });

  it("takes several ControlNets, each with its image and numbers", async () => {
    const controlnet = [net, second];
    using pipe = await StableDiffusionControlNetPipeline.fromPretrained(model, { ...onCpu, controlnet });
    const found = await made(
      ...["--model", model, "--controlnet", net, "--control_image", control, "--controlnet", second],
      ...["--control_image", other, "--control=none", "--control=canny", "--height=48", "--width=32"],
      ...["--controlnet_conditioning_scale=0.4,1.3", "--control_guidance_end=0.5,1"],
    );
    const image = [control, await cannyEdges(other, 100, 200)];
    const numbers = { controlnetConditioningScale: [0.4, 1.3], controlGuidanceEnd: [0.5, 1] };
    expectSame(found, await pipe.run({ ...shared, ...numbers, image, height: 48, width: 32 }));
  });

  it("takes Stable Diffusion XL, from text and from an image, with its own options", async () => {
    const controlled = { ...onCpu, controlnet: xlNet };
    const args = ["--model", xlModel, "--controlnet", xlNet, "--control_image", control];
    using text = await StableDiffusionXLControlNetPipeline.fromPretrained(xlModel, controlled);
    const found = await made(...args, "--prompt_2=night", "--original_size=40,50");
    expectSame(found, await text.run({ ...shared, image: control, prompt2: "night", originalSize: [40, 50] }));
    using pipe = await StableDiffusionXLControlNetImg2ImgPipeline.fromPretrained(xlModel, controlled);
    const from = await made(...args, "--image", picture, "--aesthetic_score=3");
    expectSame(from, await pipe.run({ ...shared, image: picture, controlImage: control, aestheticScore: 3 }));
  });
});

describe("is refused in one line, before the model is loaded:", () => {
  const args = ["--model", model, "--controlnet", net, "--control_image", control];
  const cases: [what: string, args: string[], status: number, expected: RegExp][] = [
    ["no control image", args.slice(0, 4), 2, /--controlnet needs --control_image, or --image and --control canny$/],
    [
      "the image itself as its control",
      [...args.slice(0, 4), "--image", picture],
      2,
      /--controlnet needs --control_image, or/,
    ],
    ["control without a ControlNet", ["--model", model, "--control=canny"], 2, /--control is for a ControlNet: give/],
    ["guessing without a ControlNet", ["--model", model, "--guess_mode"], 2, /--guess_mode is for a ControlNet: give/],
    ["an unknown control", [...args, "--control=pose"], 2, /--control takes one of none, canny, not \["pose"\]$/],
    [
      "fewer images than ControlNets",
      [...args, "--controlnet", second],
      2,
      /--control_image has 1 values for 2 of --controlnet$/,
    ],
    [
      "more numbers than ControlNets",
      [...args, "--controlnet_conditioning_scale=1,2"],
      2,
      /--controlnet_conditioning_scale has 2 values for 1 of --controlnet$/,
    ],
    [
      "a start out of range",
      [...args, "--control_guidance_start=1.5"],
      2,
      /--control_guidance_start takes a list of numbers from 0 to 1, .*1\.5/,
    ],
    [
      "an end below 0",
      [...args, "--control_guidance_end=-0.5"],
      2,
      /--control_guidance_end takes a list of numbers from 0 to 1/,
    ],
    [
      "an end before the start",
      [...args, "--control_guidance_start=0.6", "--control_guidance_end=0.5"],
      2,
      /--control_guidance_start 0.6 must be below --control_guidance_end 0.5$/,
    ],
    [
      "control images of two sizes",
      [...args, "--controlnet", second, "--control_image", other],
      1,
      /^the images make 40×56 and 32×48 pixels: give images of one size, or height and width$/,
    ],
    [
      "an image of another size than its control",
      [...args.slice(0, 4), "--control_image", other, "--image", picture],
      1,
      /^the images make \d+×\d+ and \d+×\d+ pixels: give images of one size, or height and width$/,
    ],
    ["a mask", [...args, "--image", picture, "--mask", picture], 2, /--mask does not go with --controlnet$/],
    ["a refiner", [...args, "--refiner", xlModel], 2, /--refiner does not go with --controlnet$/],
    [
      "a ControlNet for another base",
      ["--model", xlModel, "--controlnet", net, "--control_image", control],
      1,
      /^the ControlNet's "\w+" is .*: it is for another base model$/,
    ],
    [
      "a ControlNet for another base, among several",
      [...args, "--controlnet", xlNet, "--control_image", control],
      1,
      /^ControlNet 2's "\w+" is .*, but .*: it is for another base model$/,
    ],
    [
      "a ControlNet that is a UNet",
      [...args.slice(0, 2), "--controlnet", join(model, "unet"), ...args.slice(4)],
      1,
      /is a "?UNet2DConditionModel"?, not a ControlNetModel/,
    ],
    [
      "no such ControlNet",
      [...args.slice(0, 2), "--controlnet", "./nowhere", ...args.slice(4)],
      1,
      /nowhere: no such folder/,
    ],
    ["an image that is absent", [...args.slice(0, 4), "--control_image=absent.png"], 1, /"absent.png" does not exist$/],
    [
      "a strength that leaves no step",
      [...args, "--image", picture, "--strength=0.1", "--scheduler=DDIMScheduler"],
      1,
      /^strength 0.1 leaves none of the 3 steps/,
    ],
    [
      "the first sizes of Stable Diffusion XL",
      [...args, "--original_size=4,4"],
      2,
      /--original_size is for Stable Diffusion XL/,
    ],
    [
      "a rescaled guidance",
      [...args, "--guidance_rescale=0.5"],
      2,
      /--guidance_rescale does not go with --controlnet$/,
    ],
  ];

  it.each(cases)("%s", async (_, given, status, expected) => {
    using place = new Workplace();
    const { status: found, stdout, stderr } = await run(place, given);
    expect(stderr).toMatch(/^ip2p: [^\n]+\n$/);
    expect(stderr.slice("ip2p: ".length, -1)).toMatch(expected);
    expect({ status: found, stdout, files: place.list() }).toEqual({ status, stdout: "", files: [] });
  });

  it("a ControlNet that takes no images", async () => {
    using place = new Workplace();
    cpSync(net, place.at("net"), { recursive: true });
    const file = place.at("net", "config.json");
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), conditioning_channels: 4 }));
    const { status, stdout, stderr } = await run(place, [
      "--model",
      model,
      "--controlnet=net",
      "--control_image",
      control,
    ]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/^ip2p: the ControlNet's "conditioning_channels" is 4, but images have 3: .*\n$/);
  });
});

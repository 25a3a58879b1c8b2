import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { RgbImage } from "../../lib/images/index.js";
import { ControlNetModel } from "../../lib/models/controlnet.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import {
  AutoPipelineForImage2Image,
  AutoPipelineForInpainting,
  AutoPipelineForText2Image,
} from "../../lib/pipelines/auto.js";
import { StableDiffusionControlNetPipeline } from "../../lib/pipelines/controlnet/controlnet.js";
import { StableDiffusionControlNetImg2ImgPipeline } from "../../lib/pipelines/controlnet/controlnet_img2img.js";
import { StableDiffusionControlNetInpaintPipeline } from "../../lib/pipelines/controlnet/controlnet_inpaint.js";
import { StableDiffusionXLControlNetPipeline } from "../../lib/pipelines/controlnet/controlnet_sd_xl.js";
import { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import { imageToTensor } from "../../lib/pipelines/image-tensors.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionInpaintPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { StableDiffusionXLPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const MODEL = fixture("controlnet", "model");
const NETS = [join(MODEL, "controlnet"), join(MODEL, "controlnet_1")] as const;
const XL_NET = fixture("controlnet-more", "controlnet2");
const CONTROL = fixture("controlnet", "control0.png");
const SHORT = { prompt: "a cat", numInferenceSteps: 2, seed: 1, outputType: "latent" } as const;
const config = (message: RegExp) => ({ code: "ERR_CONFIG", message: expect.stringMatching(message) });
const argument = (message: RegExp) => ({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(message) });

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-control-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of a ControlNet with another configuration. */
function changed(net: string, changes: object): string {
  const folder = temporary();
  cpSync(net, folder, { recursive: true });
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify({ ...readJson<object>(file), ...changes }));
  return folder;
}

describe("loading", () => {
  test("by the folder's index, by paths, and of models", async () => {
    using own = await DiffusionPipeline.fromPretrained(MODEL);
    expect(own).toBeInstanceOf(StableDiffusionControlNetImg2ImgPipeline);
    expect((own as StableDiffusionControlNetImg2ImgPipeline).controlnet).toBeInstanceOf(ControlNetModel);
    using second = await ControlNetModel.fromPretrained(NETS[1]);
    const pipe = await StableDiffusionControlNetPipeline.fromPretrained(MODEL, { controlnet: [NETS[0], second] });
    const [loaded, given] = pipe.controlnet as readonly ControlNetModel[];
    expect(given).toBe(second);
    const { images } = await pipe.run({ ...SHORT, image: [CONTROL, CONTROL] });
    expect(images.shape).toEqual([1, 4, 7, 5]);
    pipe.dispose();
    expect([loaded!.disposed, second.disposed]).toEqual([true, false]);
  });

  test("of a list that was saved, with the same results", async () => {
    using pipe = await StableDiffusionControlNetPipeline.fromPretrained(MODEL, { controlnet: [...NETS] });
    const folder = temporary();
    await pipe.savePretrained(folder);
    const index = readJson<Record<string, unknown>>(join(folder, "model_index.json"));
    expect(index.controlnet).toEqual(["diffusers", "MultiControlNetModel"]);
    expect(index).not.toHaveProperty("controlnet_1");
    using again = await StableDiffusionControlNetPipeline.fromPretrained(folder);
    expect(again.controlnet).toHaveLength(2);
    const call = { ...SHORT, image: [CONTROL, CONTROL], controlnetConditioningScale: [0.4, 1.3] };
    const [before, after] = [await pipe.run(call), await again.run(call)];
    expect(await after.images.equal(before.images)).toBe(true);
  });

  test("by AutoPipelines, which pick the class", async () => {
    using plain = await AutoPipelineForText2Image.fromPretrained(fixture("img2img", "model"));
    expect(plain).toBeInstanceOf(StableDiffusionPipeline);
    using text = await AutoPipelineForText2Image.fromPretrained(fixture("img2img", "model"), { controlnet: NETS[0] });
    expect(text).toBeInstanceOf(StableDiffusionControlNetPipeline);
    using net = await ControlNetModel.fromPretrained(NETS[0]);
    using image = AutoPipelineForImage2Image.fromPipe(plain, { controlnet: net });
    expect(image).toBeInstanceOf(StableDiffusionControlNetImg2ImgPipeline);
    expect(image.unet).toBe(plain.unet);
    using kept = AutoPipelineForText2Image.fromPipe(image);
    expect((kept as StableDiffusionControlNetPipeline).controlnet).toBe(net);
    using painting = AutoPipelineForInpainting.fromPipe(plain, { controlnet: net });
    expect(painting).toBeInstanceOf(StableDiffusionControlNetInpaintPipeline);
    using without = AutoPipelineForText2Image.fromPipe(image, { controlnet: null });
    expect(without).not.toBeInstanceOf(StableDiffusionControlNetPipeline);
    using xl = await AutoPipelineForText2Image.fromPretrained(fixture("sdxl-img2img", "model"), { controlnet: XL_NET });
    expect(xl).toBeInstanceOf(StableDiffusionXLControlNetPipeline);
  });

  test.each([
    [{ cross_attention_dim: 32 }, /the ControlNet's "cross_attention_dim" is 32, but the UNet's is 24/],
    [{ block_out_channels: [16, 32] }, /"block_out_channels" is \[16,32\], but the UNet's is \[16,24\]/],
    [{ layers_per_block: 2 }, /"layers_per_block" is 2, but the UNet's is 1/],
    [{ in_channels: 8 }, /"in_channels" is 8, but latents have 4 channels/],
    [{ num_class_embeds: 3 }, /takes class labels/],
    [{ conditioning_embedding_out_channels: [4, 8] }, /scales images down by 2, and the autoencoder by 8/],
    [{ _class_name: "UNet2DConditionModel" }, /is a "UNet2DConditionModel", not a ControlNetModel/],
    [{ mid_block_type: null }, /"mid_block_type" is null/],
  ])("refuses a net with %j before weights are read", async (changes, message) => {
    const folder = changed(NETS[0], changes);
    rmSync(join(folder, "diffusion_pytorch_model.safetensors"));
    const refused = StableDiffusionControlNetPipeline.fromPretrained(MODEL, { controlnet: [NETS[0], folder] });
    await expect(refused).rejects.toMatchObject(
      config(new RegExp(message.source.replace("the ControlNet", "ControlNet 2"))),
    );
  });

  test("refuses nets of the other family, and none", async () => {
    const XL = fixture("sdxl-img2img", "model");
    const refused = StableDiffusionXLControlNetPipeline.fromPretrained(XL, { controlnet: NETS[0] });
    await expect(refused).rejects.toMatchObject(config(/"cross_attention_dim" is 24, but the UNet's is 64/));
    const none = StableDiffusionXLControlNetPipeline.fromPretrained(XL);
    await expect(none).rejects.toMatchObject(config(/has no "controlnet"/));
    using xl = await StableDiffusionXLPipeline.fromPretrained(XL);
    expect(() => StableDiffusionXLControlNetPipeline.fromPipe(xl)).toThrow(
      expect.objectContaining(config(/controlnet/)),
    );
    const unet = { controlnet: xl.unet as never };
    await expect(StableDiffusionControlNetPipeline.fromPretrained(MODEL, unet)).rejects.toMatchObject(
      argument(/controlnet must be of class ControlNetModel, or a list of them/),
    );
  });
});

describe("a ControlNet of a UNet", () => {
  test("has its weights, and changes nothing at first", async () => {
    using unet = await UNet2DConditionModel.fromPretrained(join(MODEL, "unet"));
    using net = await ControlNetModel.fromUNet(unet, { conditioningEmbeddingOutChannels: [4, 8, 8, 16] });
    const [own, copied] = [await unet.stateDict(), await net.stateDict()];
    for (const name of [
      "conv_in.weight",
      "down_blocks.0.resnets.0.conv1.weight",
      "mid_block.attentions.0.proj_in.bias",
    ])
      expect(await copied[name]!.equal(own[name]!)).toBe(true);
    const folder = temporary();
    await net.savePretrained(folder);
    using pipe = await StableDiffusionControlNetPipeline.fromPretrained(MODEL, { controlnet: folder });
    using plain = StableDiffusionPipeline.fromPipe(pipe, { scheduler: pipe.scheduler });
    plain.scheduler = pipe.scheduler;
    const size = { height: 56, width: 40 };
    const [controlled, free] = [await pipe.run({ ...SHORT, image: CONTROL }), await plain.run({ ...SHORT, ...size })];
    expect(await controlled.images.equal(free.images)).toBe(true);
  });

  test("is refused for UNets that diffusers has no ControlNets for", async () => {
    const shape = { block_out_channels: [8, 8], cross_attention_dim: 8, norm_num_groups: 4, attention_head_dim: 2 };
    const blocks = { down_block_types: ["DownBlock2D", "DownBlock2D"], up_block_types: ["UpBlock2D", "UpBlock2D"] };
    using unet = await UNet2DConditionModel.fromConfig({ ...shape, ...blocks, time_cond_proj_dim: 4 });
    await expect(ControlNetModel.fromUNet(unet)).rejects.toMatchObject(config(/"time_cond_proj_dim" is 4/));
  });
});

describe("calls", () => {
  let one: StableDiffusionControlNetPipeline;
  let two: StableDiffusionControlNetImg2ImgPipeline;
  beforeAll(async () => {
    one = await StableDiffusionControlNetPipeline.fromPretrained(MODEL, { controlnet: NETS[0] });
    two = await StableDiffusionControlNetImg2ImgPipeline.fromPretrained(MODEL, { controlnet: [...NETS] });
  });
  afterAll(() => {
    for (const pipe of [one, two]) pipe.dispose();
  });

  test.each([
    [{ image: undefined }, /image must be given, not undefined/],
    [{ image: [CONTROL, CONTROL] }, /2 control images were given as image for 1 prompts/],
    [{ controlnetConditioningScale: [1, 2] }, /controlnetConditioningScale has 2 entries, but there is 1 ControlNet/],
    [{ controlnetConditioningScale: "1" }, /controlnetConditioningScale must be a finite number/],
    [{ controlGuidanceStart: 0.5, controlGuidanceEnd: 0.5 }, /controlGuidanceStart 0.5 must be below/],
    [{ controlGuidanceStart: -0.1 }, /controlGuidanceStart must be at least 0/],
    [{ controlGuidanceEnd: 1.1 }, /controlGuidanceEnd must be at most 1/],
    [{ guessMode: 1 }, /guessMode must be true or false/],
    [{ height: 0 }, /height must be/],
    [{ guidanceRescale: 0.5 }, /unknown option "guidanceRescale"/],
  ])("refuse %j", async (options, message) => {
    await expect(one.run({ ...SHORT, image: CONTROL, ...(options as object) })).rejects.toMatchObject(
      argument(message),
    );
  });

  test.each([
    [{ controlImage: CONTROL }, /controlImage must be a list of 2, one control image for each ControlNet/],
    [{ controlImage: [CONTROL] }, /controlImage has 1 control images, but there are 2 ControlNets/],
    [{ controlImage: [[CONTROL, CONTROL]] }, /not "a list of lists"/],
    [{ controlGuidanceEnd: [0.5] }, /controlGuidanceEnd has 1 entries, but there are 2 ControlNets/],
    [{ image: new RgbImage(64, 32, new Uint8Array(64 * 32 * 3)) }, /image makes 64×32 pixels and controlImage 40×56/],
  ])("with several nets refuse %j", async (options, message) => {
    const call = { ...SHORT, image: CONTROL, controlImage: [CONTROL, CONTROL], ...(options as object) };
    await expect(two.run(call)).rejects.toMatchObject(argument(message));
  });

  test("refuse tensors of other channels, and images of several sizes", async () => {
    using grey = await Tensor.zeros([1, 1, 32, 32]);
    await expect(one.run({ ...SHORT, image: grey })).rejects.toMatchObject(argument(/must be \[B,3,H,W\]/));
    const controlImage = [CONTROL, new RgbImage(24, 24, new Uint8Array(24 * 24 * 3))];
    const sizes = argument(/controlImage holds control images of 40×56 and 24×24 pixels/);
    await expect(two.run({ ...SHORT, image: CONTROL, controlImage })).rejects.toMatchObject(sizes);
    const { images } = await two.run({ ...SHORT, image: CONTROL, controlImage, height: 32, width: 40, strength: 1 });
    expect(images.shape).toEqual([1, 4, 4, 5]);
  });

  test("without control are those of the plain pipeline, and steps outside of the interval too", async () => {
    using plain = StableDiffusionPipeline.fromPipe(one);
    plain.scheduler = one.scheduler;
    const call = { ...SHORT, numInferenceSteps: 4 };
    const { images: free } = await plain.run({ ...call, height: 56, width: 40 });
    const off = await one.run({ ...call, image: CONTROL, controlnetConditioningScale: 0 });
    expect(await off.images.equal(free)).toBe(true);
    const seen: boolean[] = [];
    const trajectory: Tensor[] = [];
    await plain.run({
      ...call,
      height: 56,
      width: 40,
      onStep: async ({ latents }) => void trajectory.push(await latents.clone()),
    });
    await one.run({
      ...{ ...call, image: CONTROL, controlGuidanceStart: 0.5 },
      onStep: async ({ step, latents }) => void seen.push(await latents.equal(trajectory[step]!)),
    });
    expect(seen.slice(0, 2)).toEqual([true, true]);
    expect(seen.at(-1)).toBe(false);
  });

  test("are the same with a tensor as with an image, in lower precision, and with guidance in a part of the steps", async () => {
    const picture = await (await RgbImage.load(CONTROL)).resize(40, 56, "lanczos");
    const { images: expected } = await one.run({ ...SHORT, image: picture });
    using tensor = await imageToTensor(picture);
    const same = await one.run({ ...SHORT, image: tensor });
    expect(await same.images.equal(expected)).toBe(true);
    const part = await one.run({ ...SHORT, image: CONTROL, guidanceInterval: [0, 0.5], guessMode: true });
    expect(await part.images.isFinite()).toBe(true);
    using half = await StableDiffusionControlNetPipeline.fromPretrained(MODEL, {
      controlnet: NETS[0],
      dtype: "bfloat16",
    });
    const rounded = await half.run({ ...SHORT, image: CONTROL });
    expect(rounded.images.dtype).toBe("bfloat16");
    expect(await rounded.images.isFinite()).toBe(true);
  });
});

describe("inpainting", () => {
  let pipe: StableDiffusionControlNetInpaintPipeline;
  beforeAll(async () => {
    pipe = await StableDiffusionControlNetInpaintPipeline.fromPretrained(MODEL, { controlnet: NETS[0] });
  });
  afterAll(() => pipe.dispose());
  const square = (side: number, value = 0) => new RgbImage(side, side, new Uint8Array(side * side * 3).fill(value));
  const call = { ...SHORT, image: square(32), maskImage: square(32, 255), controlImage: square(32, 90) };

  test("refuses what does not fit together, naming both", async () => {
    using latents = await Tensor.zeros([1, 4, 4, 4]);
    using tensor = await Tensor.zeros([1, 3, 32, 32]);
    const crop = { paddingMaskCrop: 2, outputType: "image" } as const;
    const cases: [options: object, message: RegExp][] = [
      [{ controlImage: undefined }, /controlImage must be given, not undefined/],
      [{ maskImage: undefined }, /maskImage must be given/],
      [{ controlImage: square(40) }, /image makes 32×32 pixels and controlImage 40×40/],
      [{ maskImage: square(40) }, /maskImage makes 40×40 pixels and image 32×32/],
      [{ image: latents }, /image must be pixels/],
      [{ image: [square(32), square(32)] }, /2 images cannot be matched with 1 prompts/],
      [{ maxSize: 16 }, /unknown option "maxSize"/],
      [{ ...crop, controlImage: tensor }, /controlImage must be images with paddingMaskCrop/],
      [{ ...crop, maskImage: square(40, 255) }, /the mask must have the image's size, 32×32, not 40×40/],
      [{ latents: tensor }, /latents must be \[1,4,4,4\]/],
    ];
    for (const [options, message] of cases)
      await expect(pipe.run({ ...call, ...options })).rejects.toMatchObject(argument(message));
  });

  test("resizes all to a given size, and without control is the plain pipeline's", async () => {
    using plain = StableDiffusionInpaintPipeline.fromPipe(pipe);
    plain.scheduler = pipe.scheduler;
    const size = { height: 40, width: 48, maskImage: square(33, 255) };
    const free = await plain.run({ ...SHORT, image: call.image, ...size });
    const off = await pipe.run({ ...call, ...size, controlImage: square(50), controlnetConditioningScale: 0 });
    expect(off.images.shape).toEqual([1, 4, 5, 6]);
    expect(await off.images.equal(free.images)).toBe(true);
    const led = await pipe.run({ ...call, ...size });
    expect(await led.images.equal(free.images)).toBe(false);
  });
});

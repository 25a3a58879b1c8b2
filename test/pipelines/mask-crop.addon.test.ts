import { beforeAll, describe, expect, it } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { loadImage, RgbImage } from "../../lib/images/index.js";
import { readPictures } from "../../lib/pipelines/inpainting/pictures.js";
import { overlaid } from "../../lib/pipelines/mask-crop.js";
import { StableDiffusionInpaintPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface Step {
  width: number;
  height: number;
  padding: number;
  /** Left, top, right and bottom. */
  region: [number, number, number, number];
}

interface Run {
  model: string;
  height: number;
  width: number;
  padding_mask_crop: number;
  strength: number;
  seed: number;
}

const { steps, runs } = readJson<{ steps: Step[]; runs: Run[] }>(fixture("mask-crop", "case.json"));
const picture = fixture("inpaint", "image0.png");
const mask = fixture("inpaint", "mask0.png");
let recorded: Record<string, Tensor>;

beforeAll(async () => {
  recorded = await loadSafetensors(fixture("mask-crop", "expected.safetensors"));
});

async function pictureOf(name: string): Promise<RgbImage> {
  const tensor = recorded[name]!;
  const [height, width] = tensor.shape as [number, number, number];
  return new RgbImage(width, height, (await tensor.toArray()) as Uint8Array);
}

describe("the masked part of an image", () => {
  it.each(steps.map((step, i) => ({ i, ...step })))(
    "is cut out and put back as by diffusers: case $i",
    async ({ i, width, height, padding, region: [left, top, right, bottom] }) => {
      const given = { image: await pictureOf(`step${i}.picture`), maskImage: await pictureOf(`step${i}.mask`) };
      const call = { ...given, size: { width, height }, paddingMaskCrop: padding, signal: undefined };
      const { image, overlay } = await readPictures(call);
      expect(overlay!.region).toEqual({ left, top, right, bottom });
      expect((image as RgbImage).equals(await pictureOf(`step${i}.part`))).toBe(true);
      const result = await overlaid(await pictureOf(`step${i}.painted`), overlay!);
      expect(result.equals(await pictureOf(`step${i}.result`))).toBe(true);
    },
  );

  it.each(runs)("is painted as by diffusers: $model, $width×$height, margin $padding_mask_crop", async (run) => {
    using pipeline = await StableDiffusionInpaintPipeline.fromPretrained(fixture(run.model, "model"), {
      device: "cpu",
    });
    const { images } = await pipeline.run({
      ...{
        prompt: "a fantasy landscape",
        image: picture,
        maskImage: mask,
        numInferenceSteps: 3,
        numImagesPerPrompt: 2,
      },
      ...{ height: run.height, width: run.width, strength: run.strength, seed: run.seed },
      paddingMaskCrop: run.padding_mask_crop,
    });
    const original = await loadImage(picture);
    for (const [n, image] of images.entries()) {
      const expected = await pictureOf(`run${runs.indexOf(run)}.image${n}`);
      expect([image.width, image.height]).toEqual([original.width, original.height]);
      // Pixels are rounded to 8 bits before and after they are resized.
      expect(
        image.data.reduce((most, value, j) => Math.max(most, Math.abs(value - expected.data[j]!)), 0),
      ).toBeLessThan(3);
      expect(image.equals(original)).toBe(false);
    }
  });

  it("is refused where it cannot be cut out", async () => {
    using pipeline = await StableDiffusionInpaintPipeline.fromPretrained(fixture("inpaint", "model"), {
      device: "cpu",
    });
    const black = new RgbImage(44, 60, new Uint8Array(44 * 60 * 3));
    const small = await (await loadImage(mask)).resize(22, 30);
    const tensor = await Tensor.zeros([1, 3, 60, 44]);
    const options = { prompt: "x", image: picture, maskImage: mask, numInferenceSteps: 1, paddingMaskCrop: 2 };
    const refused = (message: RegExp) => ({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(message) });
    const run = (more: object) => expect(pipeline.run({ ...options, ...more })).rejects;
    await run({ maskImage: black }).toMatchObject(refused(/the mask is black/));
    await run({ maskImage: small }).toMatchObject(refused(/must have the image's size, 44×60, not 22×30/));
    await run({ image: tensor }).toMatchObject(refused(/^image must be one image/));
    await run({ image: [picture, picture] }).toMatchObject(refused(/^image must be one image/));
    await run({ maskImage: [mask, mask] }).toMatchObject(refused(/^maskImage must be one image/));
    await run({ outputType: "tensor" }).toMatchObject(refused(/^outputType must be "image"/));
    await run({ paddingMaskCrop: -1 }).toMatchObject(refused(/^paddingMaskCrop must be/));
    await run({ paddingMaskCrop: 1.5 }).toMatchObject(refused(/^paddingMaskCrop must be/));
  });
});

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  InstructPix2PixPipeline,
  loadImage,
  type RgbImage,
  StableDiffusionInpaintPipeline,
  StableDiffusionXLInstructPix2PixPipeline,
  Tensor,
} from "../../lib/index.js";
import { fixture } from "../helpers/fixtures.js";
import { quickEdit, tinyImage, tinyModel } from "../runtime/tiny.js";

const mask = fixture("inpaint", "mask0.png");
const painting = { prompt: "a door", maskImage: mask, numInferenceSteps: 2, seed: 1 };

let image: RgbImage;
let wide: RgbImage;
beforeAll(async () => {
  image = await loadImage(tinyImage);
  wide = await image.resize(150, 70);
});

describe("an edit", () => {
  let pipe: InstructPix2PixPipeline;
  const loaded: unknown[] = [];
  beforeAll(async () => {
    pipe = await InstructPix2PixPipeline.fromPretrained(tinyModel, {
      device: "cpu",
      onProgress: (progress) => loaded.push(progress),
    });
  });
  afterAll(() => pipe.dispose());

  it("of a larger image has its proportions, and is that of the image resized at once", async () => {
    const { images } = await pipe.run(quickEdit({ image: wide, maxSize: 45 }));
    const resized = await wide.resize(44, 20);
    const { images: expected } = await pipe.run(quickEdit({ image: resized }));
    expect(images[0]!.equals(expected[0]!)).toBe(true);
  });

  it("of an image that is not larger, and of latents, is the same as without", async () => {
    const { images: expected } = await pipe.run(quickEdit());
    const { images } = await pipe.run(quickEdit({ maxSize: 56 }));
    expect(images[0]!.equals(expected[0]!)).toBe(true);
    using latents = await Tensor.randn([1, 4, 30, 20]);
    const { images: large } = await pipe.run(quickEdit({ image: latents, maxSize: 16 }));
    expect([large[0]!.width, large[0]!.height]).toEqual([40, 60]);
  });

  it("resizes pixels of a tensor, and several images to the size of the first", async () => {
    using pixels = await Tensor.zeros([1, 3, 40, 60]);
    const { images } = await pipe.run(quickEdit({ image: pixels, maxSize: 30 }));
    expect([images[0]!.width, images[0]!.height]).toEqual([30, 20]);
    const { images: two } = await pipe.run(quickEdit({ image: [wide, image], prompt: ["a", "b"], maxSize: 20 }));
    expect(two.map(({ width, height }) => [width, height])).toEqual(Array(2).fill([20, 10]));
  });

  it.each<[unknown, RegExp]>([
    [0, /^maxSize must be an integer in 1\.\.\d+, not 0$/],
    [1, /^maxSize must be at least 2, .*not 1$/],
    ["512", /^maxSize must be an integer .*not "512"$/],
  ])("refuses maxSize %j", async (maxSize, message) => {
    await expect(pipe.run(quickEdit({ maxSize } as object))).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });

  it("tells how far it is, from the first byte to the last pixel", async () => {
    expect(loaded.at(0)).toEqual({ stage: "load", fraction: 0 });
    expect(loaded.at(-1)).toEqual({ stage: "load", fraction: 1 });
    const fractions = loaded.map((each) => (each as { fraction: number }).fraction);
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
    expect(new Set(fractions).size).toBe(4);

    const seen: unknown[] = [];
    const onProgress = (progress: unknown) => seen.push(progress);
    await pipe.run(quickEdit({ numInferenceSteps: 2, onProgress } as object));
    expect(seen).toEqual([
      { stage: "encode", fraction: undefined },
      ...[0, 1, 2].map((step) => ({ stage: "denoise", fraction: step / 2, step, totalSteps: 2 })),
      { stage: "decode", fraction: undefined },
      { stage: "decode", fraction: 1 },
    ]);
    const failing = pipe.run(
      quickEdit({
        onProgress: ({ stage }: { stage: string }) => {
          if (stage === "decode") throw new RangeError("enough");
        },
      } as object),
    );
    await expect(failing).rejects.toThrow(new RangeError("enough"));
    await expect(pipe.run(quickEdit({ onProgress: 1 } as object))).rejects.toThrow("onProgress must be a function");
  });
});

it("inpainting takes its size from the image, and resizes the mask with it", async () => {
  using pipe = await StableDiffusionInpaintPipeline.fromPretrained(fixture("inpaint", "model"), { device: "cpu" });
  const { images } = await pipe.run({ ...painting, image: wide, maxSize: 64 });
  const { width, height } = images[0]!;
  expect(width).toBe(64);
  expect(Math.abs(height - (64 * 70) / 150)).toBeLessThanOrEqual(pipe.vae.scaleFactor / 2);
  const { images: expected } = await pipe.run({ ...painting, image: wide, width, height });
  expect(images[0]!.equals(expected[0]!)).toBe(true);
  await expect(pipe.run({ ...painting, image: wide, maxSize: 64, width: 64 })).rejects.toThrow(
    "give maxSize or width, not both",
  );
  await expect(pipe.run({ ...painting, image: wide, maxSize: 64, paddingMaskCrop: 2 })).rejects.toThrow(
    "give maxSize or paddingMaskCrop, not both",
  );
  using latents = await Tensor.zeros([1, 4, 9, 9]);
  await expect(pipe.run({ ...painting, image: wide, maxSize: 64, latents })).rejects.toThrow(/^latents must be/);
});

it("an edit by Stable Diffusion XL takes its size from the image", async () => {
  const folder = fixture("sdxl-ip2p", "model");
  using pipe = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(folder, { device: "cpu" });
  const options = { prompt: "snow", numInferenceSteps: 2, seed: 1, image: wide };
  const { images } = await pipe.run({ ...options, maxSize: 32 });
  const { width, height } = images[0]!;
  expect(width).toBe(32);
  expect(height).toBeLessThan(20);
  const { images: expected } = await pipe.run({ ...options, width, height });
  expect(images[0]!.equals(expected[0]!)).toBe(true);
});

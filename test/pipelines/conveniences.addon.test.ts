import { inspect } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type InstructPix2PixPipeline,
  imageToTensor,
  loadImage,
  RgbImage,
  Tensor,
  tensorToImage,
  tensorToImages,
  tidy,
} from "../../lib/index.js";
import { quickEdit, tinyImage, tinyPipeline } from "../runtime/tiny.js";

let pipe: InstructPix2PixPipeline;
beforeAll(async () => {
  pipe = await tinyPipeline();
});
afterAll(() => pipe.dispose());

it("a tensor shows its shape, type and device", async () => {
  const tensor = await Tensor.zeros([1, 4, 8, 8], { dtype: "bfloat16" });
  const text = "Tensor [1,4,8,8] bfloat16 on cpu";
  expect([String(tensor), inspect(tensor), inspect({ tensor })]).toEqual([text, text, `{ tensor: ${text} }`]);
  tensor.dispose();
  expect([String(tensor), inspect(tensor)]).toEqual(Array(2).fill("Tensor (disposed)"));
});

it("a pipeline shows its components on one line", async () => {
  const shown = inspect(pipe);
  expect(shown).toBe(
    "InstructPix2PixPipeline { vae: AutoencoderKL float32 on cpu, textEncoder: CLIPTextModel float32 on cpu, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel float32 on cpu, scheduler: EulerAncestralDiscreteScheduler }",
  );
  expect(`${pipe}`).toBe(shown);
  const other = await tinyPipeline();
  other.dispose();
  expect(inspect(other)).toBe("InstructPix2PixPipeline (disposed)");
});

it("images become tensors and tensors images, without a loss", async () => {
  const image = await loadImage(tinyImage);
  const { width, height } = image;
  using one = await imageToTensor(tinyImage);
  expect([one.shape, one.dtype]).toEqual([[1, 3, height, width], "float32"]);
  expect((await tensorToImage(one)).equals(image)).toBe(true);
  const values = await one.toArray();
  expect(values[width + 2]).toBeCloseTo(image.data[(width + 2) * 3]! / 255, 6);
  const other = new RgbImage(width, height, new Uint8Array(width * height * 3).fill(77));
  using two = await imageToTensor([image, other]);
  expect((await tensorToImages(two)).map((each, i) => each.equals([image, other][i]!))).toEqual([true, true]);
  using single = await one.reshape([3, height, width]);
  expect((await tensorToImage(single)).equals(image)).toBe(true);
  using doubled = await one.mul(300);
  expect(Math.max(...(await tensorToImage(doubled)).data)).toBe(255);
  const { images } = await pipe.run(quickEdit());
  using pixels = (await pipe.run(quickEdit({ outputType: "tensor" } as object))).images as unknown as Tensor;
  expect((await tensorToImage(pixels)).equals(images[0]!)).toBe(true);
});

it.each<[string, () => Promise<unknown>, string]>([
  [
    "several sizes",
    () => imageToTensor([new RgbImage(1, 2, new Uint8Array(6)), new RgbImage(2, 1, new Uint8Array(6))]),
    "a tensor holds images of one size, not of 1×2, 2×1: resize them first",
  ],
  ["no images", () => imageToTensor([]), "image is an empty list"],
  [
    "latents",
    async () => tensorToImage(await Tensor.zeros([1, 4, 8, 8])),
    "tensor must be [B,3,H,W] or [3,H,W], not [1,4,8,8]",
  ],
  [
    "a batch",
    async () => tensorToImage(await Tensor.zeros([2, 3, 8, 8])),
    "tensor [2,3,8,8] holds 2 images, not one: use tensorToImages",
  ],
  [
    "bytes",
    async () => tensorToImages(await Tensor.zeros([3, 8, 8], { dtype: "uint8" })),
    "tensor must be of a type of float32, float64, bfloat16, float16, not uint8",
  ],
  ["NaN", async () => tensorToImages(await Tensor.full([3, 8, 8], Number.NaN)), "tensor holds NaN or infinity"],
])("%s are refused", async (_, call, message) => {
  await expect(call()).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT", message });
});

it("tidy frees what it was told of, but not the result", async () => {
  const seen: Tensor[] = [];
  const note = (tensor: Tensor) => {
    seen.push(tensor);
    return tensor;
  };
  const a = await Tensor.full([2], 1);
  const sum = await tidy(async (use) => {
    const half = note(await use(a.mul(0.5)));
    return note(use(await half.add(1)));
  });
  expect(await sum.toArray()).toEqual(Float32Array.of(1.5, 1.5));
  expect(seen.map(({ disposed }) => disposed)).toEqual([true, false]);
  const { x, list } = await tidy(async (use) => {
    const [x, y, z] = [use(await a.add(1)), use(await a.add(2)), note(use(await a.add(3)))];
    return { x, list: [await y.clone(), z].slice(0, 1) };
  });
  expect([x!.disposed, list[0]!.disposed, seen.at(-1)!.disposed]).toEqual([false, false, true]);
  await expect(
    tidy(async (use) => {
      note(await use(a.mul(2)));
      throw new Error("oops");
    }),
  ).rejects.toThrow("oops");
  expect(seen.at(-1)!.disposed).toBe(true);
  expect(a.disposed).toBe(false);
  expect(await tidy((use) => use(a) && 7)).toBe(7);
  expect(a.disposed).toBe(true);
});

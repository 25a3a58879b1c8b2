import { afterAll, beforeAll, expect, it } from "vitest";
import { DDPMScheduler, type InstructPix2PixPipeline, Tensor } from "../../lib/index.js";
import { tinyPipeline } from "../runtime/tiny.js";

let pipe: InstructPix2PixPipeline;
beforeAll(async () => {
  pipe = await tinyPipeline();
});
afterAll(() => pipe.dispose());

const zeros = (shape: number[], dtype: "float32" | "int64" | "uint8" = "float32") => Tensor.zeros(shape, { dtype });
const unet = async (sample: number[], text: number[], dtype?: "int64") =>
  pipe.unet.forward(await zeros(sample, dtype), 1, await zeros(text));

it.each<[() => Promise<unknown>, string]>([
  [() => unet([1, 4, 8, 8], [1, 77, 32]), "sample needs 8 channels, has 4"],
  [() => unet([8, 8, 8], [1, 77, 32]), "sample must be [B,C,H,W], not [8,8,8]"],
  [() => unet([1, 8, 0, 8], [1, 77, 32]), "sample is empty: [1,8,0,8]"],
  [() => unet([1, 8, 8, 8], [1, 77, 33]), "encoderHiddenStates needs 32 features, has 33"],
  [() => unet([1, 8, 8, 8], [77, 32]), "encoderHiddenStates must be [B,T,D], not [77,32]"],
  [
    () => unet([1, 8, 8, 8], [1, 77, 32], "int64"),
    "sample must be of a type of float32, float64, bfloat16, float16, not int64",
  ],
  [async () => pipe.vae.encode(await zeros([1, 4, 16, 16])), "x needs 3 channels, has 4"],
  [
    async () => pipe.vae.encode(await zeros([1, 3, 16, 16], "uint8")),
    "x must be of a type of float32, float64, bfloat16, float16, not uint8",
  ],
  [
    async () => pipe.vae.encode(await zeros([1, 3, 17, 16])),
    "x must have a height and a width that are multiples of 2, not 17 and 16",
  ],
  [
    async () => pipe.vae.encode(await zeros([1, 3, 1, 1])),
    "x must have a height and a width that are multiples of 2, not 1 and 1",
  ],
  [async () => pipe.vae.decode(await zeros([1, 3, 8, 8])), "z needs 4 channels, has 3"],
  [async () => pipe.vae.decode(await zeros([4, 8, 8])), "z must be [B,C,h,w], not [4,8,8]"],
])("a model names what is wrong with its input", async (call, message) => {
  await expect(call()).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT", message });
});

it("schedulers name what is no tensor, or of whole numbers", async () => {
  const scheduler = new DDPMScheduler();
  scheduler.setTimesteps(4);
  const step = (output: unknown, sample: unknown) => scheduler.step(output as Tensor, 750, sample as Tensor);
  const refused = (message: string) => expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message });
  await expect(step([1], await zeros([1]))).rejects.toEqual(
    refused("modelOutput must be a Tensor, not a list of other things"),
  );
  await expect(step(await zeros([1], "int64"), await zeros([1], "int64"))).rejects.toMatchObject({
    message: expect.stringMatching(/^sample must be of a type of float32/),
  });
});

const A = () => zeros([2, 3]);

it.each<[string, (a: Tensor) => Promise<unknown>, string]>([
  ["reshape", (a) => a.reshape([4]), "a tensor [2,3] of 6 elements cannot be reshaped to [4]"],
  ["reshape", (a) => a.reshape([-1, 4]), "a tensor [2,3] of 6 elements cannot be reshaped to [-1,4]"],
  ["reshape", (a) => a.reshape([-1, -1]), "only one size can be -1, not 2: [-1,-1]"],
  ["slice", (a) => a.slice(5, 0, 1), "dim must be a dimension of a tensor [2,3], in -2..1, not 5"],
  ["cat", async (a) => Tensor.cat([a, await zeros([3])]), "tensors [2,3] and [3] cannot be joined along dimension 0"],
  [
    "cat",
    async (a) => Tensor.cat([a, await zeros([2, 4])]),
    "tensors [2,3] and [2,4] cannot be joined along dimension 0",
  ],
  ["cat", (a) => Tensor.cat([a, a], 7), "dim must be a dimension of a tensor [2,3], in -2..1, not 7"],
  ["add", async (a) => a.add(await zeros([4])), "tensors [2,3] and [4] cannot be combined elementwise"],
  ["repeat", (a) => a.repeat([2]), "repeats must hold 2 counts or more, for [2,3]"],
  ["repeatInterleave", (a) => a.repeatInterleave(-1), "repeats must be a whole number that is not negative, not -1"],
  ["absQuantileRows", (a) => a.absQuantileRows(2), "q must be in 0..1, not 2"],
  ["randint", () => Tensor.randint(5, 1, [2]), "low must be a whole number below high, not 5 and 1"],
  ["randperm", () => Tensor.randperm(-1), "n must be a whole number that is not negative, not -1"],
  [
    "randn",
    () => Tensor.randn([2], { dtype: "int64" }),
    "dtype must be of a type of float32, float64, bfloat16, float16, not int64",
  ],
  ["neg", async () => (await Tensor.full([1], 1, { dtype: "bool" })).neg(), "a bool tensor has no negative"],
])("Tensor: %s names what is wrong", async (_, call, message) => {
  await expect(call(await A())).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT", message });
});

it("takes every shape that fits", async () => {
  const a = await A();
  const shapes = [
    await a.reshape([3, -1]),
    await a.reshape([6]),
    await a.add(await zeros([1])),
    await a.add(await zeros([4, 2, 1])),
    await a.add(await zeros([])),
    await Tensor.cat([a, await zeros([2, 1])], -1),
    await a.repeat([2, 1, 1]),
    await a.slice(-1, 0, 2),
  ].map(({ shape }) => shape);
  expect(shapes).toEqual([[3, 2], [6], [2, 3], [4, 2, 3], [2, 3], [2, 4], [2, 2, 3], [2, 2]]);
});

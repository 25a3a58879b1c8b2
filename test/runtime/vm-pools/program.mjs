// Tests of the installed package, which vm-pools.slow.test.ts has vitest run in its vm pools.
import {
  builtInModel,
  DDPMScheduler,
  Generator,
  InstructPix2PixError,
  InstructPix2PixPipeline,
  isInstructPix2PixError,
  loadImage,
  RgbImage,
  Tensor,
} from "instruct-pix2pix";
import { expect, test } from "vitest";

const KINDS = [
  ...[Float32Array, Float64Array, Int32Array, Int16Array, Int8Array, Uint8Array, Uint8ClampedArray],
  ...(typeof Float16Array === "function" ? [Float16Array] : []),
];
const picture = () => new RgbImage(64, 64, new Uint8Array(64 * 64 * 3).fill(99));

test.each(KINDS.map((Kind) => [Kind.name, Kind]))("a tensor is made from a %s", async (_, Kind) => {
  const values = await Tensor.from(Kind.of(1, 2)).toArray();
  expect(Array.from(values, Number)).toEqual([1, 2]);
});

test("results are of this realm", async () => {
  const tensor = Tensor.from(BigInt64Array.of(1n, 2n), [1, 2]);
  expect(await tensor.toArray()).toStrictEqual(BigInt64Array.of(1n, 2n));
  expect(tensor.shape).toStrictEqual([1, 2]);
  expect(await Tensor.from([1, 2]).toArray()).toStrictEqual(Float32Array.of(1, 2));
  expect(await Tensor.from([1, 2], [2, 1]).absQuantileRows(1)).toStrictEqual([1, 2]);
  expect((await picture().resize(1, 1)).data).toStrictEqual(Uint8Array.of(99, 99, 99));
  expect(Tensor.zeros([1])).toBeInstanceOf(Promise);
  tensor[Symbol.dispose]();
  expect(tensor.disposed).toBe(true);
});

test("a generator continues from a copy of its state", async () => {
  const generator = new Generator("cpu", 5);
  const state = await generator.getState();
  expect(state).toBeInstanceOf(Uint8Array);
  const drawn = await (await Tensor.randn([3], { generator })).toArray();
  await generator.setState(Uint8Array.from(state));
  expect(await (await Tensor.randn([3], { generator })).toArray()).toStrictEqual(drawn);
});

test("a scheduler accepts lists", () => {
  const { config } = DDPMScheduler.fromConfig({ trained_betas: [0.1, 0.2], num_train_timesteps: 2 });
  expect(config.trained_betas).toStrictEqual([0.1, 0.2]);
});

test("images are read from every kind of source", async () => {
  const png = await picture().encode("png");
  const bytes = Uint8Array.from(png);
  const url = new URL(`data:image/png;base64,${Buffer.from(png).toString("base64")}`);
  for (const source of [png, bytes, bytes.buffer, url, url.href])
    expect((await loadImage(source)).data).toStrictEqual(picture().data);
});

test("the built-in model edits", async () => {
  const pipeline = await InstructPix2PixPipeline.fromPretrained(builtInModel, { device: "cpu" });
  const edit = { image: picture(), prompt: "make it night", numInferenceSteps: 2, seed: 1 };
  const steps = [];
  const { images } = await pipeline.run({
    ...edit,
    signal: new AbortController().signal,
    onStep: ({ step }) => void steps.push(step),
  });
  expect(images).toStrictEqual([expect.any(RgbImage)]);
  expect(images[0].data).toBeInstanceOf(Uint8Array);
  expect(steps).toEqual([0, 1]);
  const { images: tensor } = await pipeline.run({ ...edit, outputType: "tensor" });
  expect(tensor.shape).toStrictEqual([1, 3, 64, 64]);

  expect((await pipeline.unet.stateDict())["conv_in.bias"]).toBeInstanceOf(Tensor);
  const ids = Tensor.from(BigInt64Array.of(1n, 2n), [1, 2]);
  const { hiddenStates } = await pipeline.textEncoder.forward(ids, { hiddenStates: true });
  expect(hiddenStates).toBeInstanceOf(Array);

  const aborted = AbortSignal.abort(new Error("enough"));
  await expect(pipeline.run({ ...edit, signal: aborted })).rejects.toMatchObject({ code: "ERR_ABORTED" });
  pipeline.dispose();
  await expect(pipeline.run(edit)).rejects.toMatchObject({ code: "ERR_DISPOSED" });
});

test.each([
  ["ERR_INVALID_ARGUMENT", () => Tensor.from(new DataView(new ArrayBuffer(4)))],
  ["ERR_INVALID_ARGUMENT", () => Tensor.from([1, 2, 3], [2])],
  ["ERR_INVALID_ARGUMENT", () => Tensor.cat([])],
  ["ERR_FILE_NOT_FOUND", () => loadImage("/no/such.png")],
  ["ERR_FILE_NOT_FOUND", () => InstructPix2PixPipeline.fromPretrained("/no/such/model")],
  ["ERR_IMAGE", () => loadImage(Uint8Array.of(1, 2, 3))],
  ["ERR_DOWNLOAD", () => loadImage("http://127.0.0.1:9/a.png", { allowPrivateAddresses: false })],
])("%s is recognised by its code: %o", async (code, run) => {
  const error = await (async () => run())().catch((error) => error);
  expect(error).toMatchObject({ code });
  expect(error).toBeInstanceOf(InstructPix2PixError);
  expect(error).toBeInstanceOf(Error);
  expect(isInstructPix2PixError(error, code)).toBe(true);
});

import { afterAll, beforeAll, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import type { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { native } from "../../lib/runtime/native.js";
import { bits, quickEdit, tinyModel, tinyPipeline } from "./tiny.js";

const DISPOSED = { name: "InstructPix2PixError", code: "ERR_DISPOSED" };

beforeAll(() => native().setThreads(1));

/** The error that a call throws or rejects with. */
async function errorOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error(`${call} succeeded`);
}

test("every use of a disposed tensor is ERR_DISPOSED", async () => {
  const gone = Tensor.from([1, 2, 3, 4], [2, 2]);
  const there = Tensor.from([1, 2, 3, 4], [2, 2]);
  expect(gone.disposed).toBe(false);
  gone.dispose();
  expect(gone.disposed).toBe(true);

  const uses: Record<string, () => unknown> = {
    shape: () => gone.shape,
    dtype: () => gone.dtype,
    device: () => gone.device,
    size: () => gone.size,
    toArray: () => gone.toArray(),
    item: () => gone.item(),
    to: () => gone.to({ dtype: "float64" }),
    slice: () => gone.slice(0, 0, 1),
    reshape: () => gone.reshape([4]),
    repeat: () => gone.repeat([1, 2]),
    repeatInterleave: () => gone.repeatInterleave(2),
    clamp: () => gone.clamp(0, 1),
    clampRows: () => gone.clampRows([0, 0], [1, 1]),
    scaleRows: () => gone.scaleRows([1, 2]),
    absQuantileRows: () => gone.absQuantileRows(0.5),
    isFinite: () => gone.isFinite(),
    equal: () => there.equal(gone),
    "as an operand": () => there.add(gone),
    cat: () => Tensor.cat([there, gone]),
    linearCombination: () =>
      Tensor.linearCombination([
        [1, there],
        [2, gone],
      ]),
  };
  for (const name of ["add", "sub", "mul", "div"] as const) uses[name] = () => gone[name](1);
  for (const name of ["neg", "abs", "exp", "log", "sqrt", "round", "clone"] as const) uses[name] = () => gone[name]();
  for (const [name, use] of Object.entries(uses)) expect(await errorOf(use), name).toMatchObject(DISPOSED);
  there.dispose();
});

test("every use of a disposed model is ERR_DISPOSED", async () => {
  const text = await CLIPTextModel.fromPretrained(`${tinyModel}/text_encoder`);
  const unet = await UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`);
  const vae = await AutoencoderKL.fromPretrained(`${tinyModel}/vae`);
  using ids = Tensor.from(BigInt64Array.of(1n, 2n), [1, 2]);
  using sample = await Tensor.randn([1, 8, 8, 8]);
  using picture = await Tensor.randn([1, 3, 8, 8]);
  using latents = await Tensor.randn([1, 4, 8, 8]);
  const { lastHiddenState: context } = await text.forward(ids);
  for (const model of [text, unet, vae]) {
    expect(model.disposed).toBe(false);
    model.dispose();
    expect(model.disposed).toBe(true);
  }
  const uses: Record<string, () => unknown> = {
    text: () => text.forward(ids),
    unet: () => unet.forward(sample, 1, context),
    encode: () => vae.encode(picture),
    decode: () => vae.decode(latents),
    stateDict: () => unet.stateDict(),
  };
  for (const [name, use] of Object.entries(uses)) expect(await errorOf(use), name).toMatchObject(DISPOSED);
});

test("disposing twice, with dispose() or with using, does nothing", async () => {
  {
    using tensor = Tensor.from([1, 2]);
    using model = await CLIPTextModel.fromPretrained(`${tinyModel}/text_encoder`);
    using pipe = await tinyPipeline();
    for (const part of [tensor, model, pipe]) part.dispose();
    for (const part of [tensor, model, pipe]) part.dispose();
    expect([tensor.disposed, model.disposed, pipe.disposed]).toEqual([true, true, true]);
  }
  const kept = (() => {
    using inner = Tensor.from([1, 2]);
    return inner;
  })();
  expect(kept.disposed).toBe(true);
});

test("queued work keeps the tensors it needs, even if they are disposed", async () => {
  const a = await Tensor.randn([200, 200], { generator: new Generator("cpu", 1) });
  const expected = await bits(await a.mul(2));
  const results = Promise.all([a.mul(2), a.mul(2), a.toArray()]);
  a.dispose();
  const [first, second, data] = await results;
  expect(await bits(first)).toEqual(expected);
  expect(await bits(second)).toEqual(expected);
  expect(data).toHaveLength(200 * 200);
});

test("a disposed model finishes the work that was queued before", async () => {
  const load = () => UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`);
  using sample = await Tensor.randn([1, 8, 16, 16]);
  using context = await Tensor.randn([1, 7, 32]);
  using kept = await load();
  const expected = await bits(await kept.forward(sample, 5, context));
  const unet = await load();
  const runs = [unet.forward(sample, 5, context), unet.forward(sample, 5, context)];
  unet.dispose();
  for (const run of runs) expect(await bits(await run)).toEqual(expected);
  expect(await errorOf(() => unet.forward(sample, 5, context))).toMatchObject(DISPOSED);
});

test("arrays read from a tensor outlive it", async () => {
  const tensor = await Tensor.full([1000], 7);
  const array = await tensor.toArray();
  tensor.dispose();
  array.fill(8 as never);
  expect(array.every((value) => value === 8)).toBe(true);
});

test("tensors of a state dict outlive the model", async () => {
  const text = await CLIPTextModel.fromPretrained(`${tinyModel}/text_encoder`);
  const { "final_layer_norm.weight": weight } = await text.stateDict();
  const before = await weight!.toArray();
  text.dispose();
  expect(await weight!.toArray()).toEqual(before);
});

let pipe: InstructPix2PixPipeline | undefined;
afterAll(() => pipe?.dispose());

test("disposing of a pipeline lets current runs finish and refuses later ones", async () => {
  pipe = await tinyPipeline();
  const { unet, vae, textEncoder } = pipe;
  const run = async () => bits((await pipe!.run({ ...quickEdit(), outputType: "tensor" })).images);
  const expected = await run();
  const runs = [run(), run()];
  pipe.dispose();
  expect(pipe.disposed).toBe(true);
  const late = errorOf(run);
  expect(await Promise.all(runs)).toEqual([expected, expected]);
  expect(await late).toMatchObject(DISPOSED);
  expect([unet, vae, textEncoder].map((part) => part.disposed)).toEqual([true, true, true]);
});

test("a pipeline with a disposed model reports it", async () => {
  using broken = await tinyPipeline();
  broken.unet.dispose();
  expect(await errorOf(() => broken.run(quickEdit()))).toMatchObject(DISPOSED);
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { Tensor } from "../../lib/core/tensor.js";
import { saveSafetensors } from "../../lib/files/safetensors.js";
import { loadImage } from "../../lib/images/index.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { unetToNative } from "../../lib/models/unet-config.js";
import type { StableDiffusionComponents } from "../../lib/pipelines/components.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionInpaintPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { native } from "../../lib/runtime/native.js";
import type { SingleFileLoadOptions } from "../../lib/single-file/load.js";
import { fixture } from "../helpers/fixtures.js";
import { expectSameState } from "../helpers/same-state.js";
import { copyWithChannels, writeSingleFile, writeWithChannels } from "./make.js";

const MODELS = ["ip2p-tiny", "ip2p-linear-v"] as const;
const UNET = "model.diffusion_model.";
const configOf = (model: string) => fixture(model, "model");

let scratch: string;
const files: Record<string, string> = {};

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ip2p-single-"));
  for (const model of MODELS)
    files[model] = await writeSingleFile(join(scratch, `${model}.safetensors`), model, async (tensors) => {
      // What such files also hold.
      tensors.alphas_cumprod = await Tensor.zeros([1000]);
      tensors["model_ema.decay"] = await Tensor.zeros([1]);
      tensors["first_stage_model.loss.logvar"] = await Tensor.zeros([1]);
      if (model !== "ip2p-linear-v") return;
      const text = "cond_stage_model.model.";
      for (const rest of ["ln_1.weight", "ln_1.bias", "attn.in_proj_weight", "mlp.c_fc.weight"])
        tensors[`${text}transformer.resblocks.2.${rest}`] = await Tensor.full([2, 2], Number.NaN);
      tensors[`${text}text_projection`] = await Tensor.zeros([48, 48]);
      tensors[`${text}logit_scale`] = await Tensor.zeros([1]);
    });
});
afterAll(() => rm(scratch, { recursive: true }));

async function failure(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isInstructPix2PixError(error)) throw error ?? new Error("did not fail");
  return error;
}

describe.each(MODELS)("%s", (model) => {
  test("has the weights and configurations of the folder, to the bit", async () => {
    const path = files[model]!;
    const config = configOf(model);
    using unet = await UNet2DConditionModel.fromSingleFile(path, { config });
    using vae = await AutoencoderKL.fromSingleFile(path, { config });
    using text = await CLIPTextModel.fromSingleFile(path, { config });
    using folderUnet = await UNet2DConditionModel.fromPretrained(join(config, "unet"));
    using folderVae = await AutoencoderKL.fromPretrained(join(config, "vae"));
    using folderText = await CLIPTextModel.fromPretrained(join(config, "text_encoder"));
    for (const [one, other] of [
      [unet, folderUnet],
      [vae, folderVae],
      [text, folderText],
    ] as const) {
      expect(one.config).toEqual(other.config);
      await expectSameState(one, other);
    }
  });

  test("edits as the folder's pipeline, to the bit", async () => {
    const config = configOf(model);
    using single = await InstructPix2PixPipeline.fromSingleFile(files[model]!, { config, device: "cpu" });
    using folder = await InstructPix2PixPipeline.fromPretrained(config, { device: "cpu" });
    expect(single.scheduler.className).toBe(folder.scheduler.className);
    expect(single.scheduler.config).toEqual(folder.scheduler.config);
    const image = await loadImage(fixture(model, "image.png"));
    const call = { image, prompt: "make it snow", numInferenceSteps: 3, seed: 5 };
    const [a, b] = [await single.run(call), await folder.run(call)];
    expect(Buffer.from(a.images[0]!.data).equals(Buffer.from(b.images[0]!.data))).toBe(true);
  });

  test("in half precision", async () => {
    const config = configOf(model);
    const half = await writeSingleFile(join(scratch, `half-${model}.safetensors`), model, async (tensors) => {
      for (const [name, tensor] of Object.entries(tensors)) tensors[name] = await tensor.to({ dtype: "float16" });
    });
    using single = await UNet2DConditionModel.fromSingleFile(half, { config });
    using folder = await UNet2DConditionModel.fromPretrained(join(config, "unet"), { dtype: "float16" });
    for (const [name, tensor] of Object.entries(await single.stateDict())) {
      const expected = await (await folder.stateDict())[name]!.to({ dtype: "float32" });
      expect([name, tensor.dtype, await native().equal(tensor.handle, expected.handle)]).toEqual([
        name,
        "float32",
        true,
      ]);
    }
  });
});

test("quantizes as a folder does", async () => {
  const config = configOf("ip2p-tiny");
  using single = await UNet2DConditionModel.fromSingleFile(files["ip2p-tiny"]!, { config, quantization: "int8" });
  using folder = await UNet2DConditionModel.fromPretrained(join(config, "unet"), { quantization: "int8" });
  using sample = await Tensor.full([1, 8, 8, 8], 0.5);
  using text = await Tensor.full([1, 4, 32], 0.25);
  const [a, b] = [await single.forward(sample, 5, text), await folder.forward(sample, 5, text)];
  expect(await native().equal(a.handle, b.handle)).toBe(true);
});

test("an autoencoder alone", async () => {
  const alone = await writeSingleFile(join(scratch, "vae.safetensors"), "ip2p-tiny", (tensors) => {
    for (const [name, tensor] of Object.entries(tensors)) {
      delete tensors[name];
      const prefix = "first_stage_model.";
      if (name.startsWith(prefix)) tensors[name.slice(prefix.length)] = tensor;
    }
  });
  const config = fixture("ip2p-tiny", "model", "vae");
  using single = await AutoencoderKL.fromSingleFile(alone, { config });
  using folder = await AutoencoderKL.fromPretrained(config);
  await expectSameState(single, folder);
  expect(await failure(InstructPix2PixPipeline.fromSingleFile(alone))).toMatchObject({
    code: "ERR_STATE_DICT",
    message: expect.stringMatching(/is an autoencoder alone: load it with AutoencoderKL\.fromSingleFile/),
  });
  expect((await failure(UNet2DConditionModel.fromSingleFile(alone))).message).toMatch(/holds no unet, only vae/);
});

test("the given tokenizer, scheduler and prediction type are used", async () => {
  const config = configOf("ip2p-linear-v");
  const options = { config, device: "cpu" };
  const file = files["ip2p-linear-v"]!;
  using given = await InstructPix2PixPipeline.fromSingleFile(file, { ...options, predictionType: "epsilon" });
  expect(given.scheduler.config.prediction_type).toBe("epsilon");
  const { scheduler, tokenizer } = given;
  using again = await InstructPix2PixPipeline.fromSingleFile(file, { ...options, scheduler, tokenizer });
  expect(again.scheduler).toBe(scheduler);
  expect(again.tokenizer).toBe(tokenizer);
});

describe("what is refused, before weights are read", () => {
  const written = (name: string, change: Parameters<typeof writeSingleFile>[2]) =>
    writeSingleFile(join(scratch, name), "ip2p-tiny", change);
  const load = (path: string, options = {}) =>
    failure(InstructPix2PixPipeline.fromSingleFile(path, { config: configOf("ip2p-tiny"), device: "cpu", ...options }));

  test("tensors of no model, by name", async () => {
    const stray = await written("stray.safetensors", async (tensors) => {
      tensors["something.else"] = await Tensor.zeros([1]);
    });
    expect(await load(stray)).toMatchObject({
      code: "ERR_STATE_DICT",
      message: expect.stringMatching(/"something\.else"/),
    });
    for (const name of [
      `${UNET}input_blocks.99.0.in_layers.0.weight`,
      "first_stage_model.encoder.down.7.block.0.conv1.weight",
    ]) {
      const path = await written("inside.safetensors", async (tensors) => {
        tensors[name] = await Tensor.zeros([1]);
      });
      expect(await load(path)).toMatchObject({ code: "ERR_STATE_DICT", message: expect.stringContaining(name) });
    }
  });

  test("missing and misshapen tensors, by their names", async () => {
    const missing = await written("missing.safetensors", (tensors) => {
      delete tensors[`${UNET}middle_block.1.norm.weight`];
    });
    expect(await load(missing)).toMatchObject({
      code: "ERR_STATE_DICT",
      message: expect.stringMatching(/missing: mid_block\.attentions\.0\.norm\.weight/),
    });
    const misshapen = await written("misshapen.safetensors", async (tensors) => {
      tensors[`${UNET}out.2.bias`] = await Tensor.zeros([5]);
    });
    expect((await load(misshapen)).message).toMatch(/misshapen: "conv_out\.bias" is \[5\]/);
  });

  test("a model whose configuration cannot be inferred, with what to do", async () => {
    expect(await load(files["ip2p-tiny"]!, { config: undefined })).toMatchObject({
      code: "ERR_STATE_DICT",
      message: expect.stringMatching(/cannot be inferred: pass the option config/),
    });
  });

  test("a file for another pipeline, with what it is for", async () => {
    type Load = (file: string, options: SingleFileLoadOptions<StableDiffusionComponents>) => Promise<Disposable>;
    const textToImage: Load = (...call) => StableDiffusionPipeline.fromSingleFile(...call);
    const inpaint: Load = (...call) => StableDiffusionInpaintPipeline.fromSingleFile(...call);
    const edit: Load = (...call) => InstructPix2PixPipeline.fromSingleFile(...call);
    const kinds = [
      [4, textToImage, /it is a text-to-image model, for StableDiffusionPipeline/],
      [9, inpaint, /it is an inpainting model, for StableDiffusionInpaintPipeline/],
      [8, edit, /it is an InstructPix2Pix model, for InstructPix2PixPipeline/],
    ] as const;
    for (const [channels, load, message] of kinds) {
      const file = await writeWithChannels(join(scratch, `for-${channels}.safetensors`), "ip2p-tiny", channels);
      const config = await copyWithChannels(join(scratch, `for-${channels}`), "ip2p-tiny", channels);
      using _ = await load(file, { config, device: "cpu" });
      for (const [, other] of kinds.filter(([others]) => others !== channels)) {
        // A text-to-image model can also paint.
        if (other === inpaint && channels === 4) continue;
        expect(await failure(other(file, { config, device: "cpu" }))).toMatchObject({
          code: "ERR_CONFIG",
          message: expect.stringMatching(message),
        });
      }
    }
  });

  test("Stable Diffusion XL", async () => {
    const xl = join(scratch, "xl.safetensors");
    await saveSafetensors(xl, {
      [`${UNET}input_blocks.0.0.weight`]: await Tensor.zeros([1]),
      "conditioner.embedders.1.model.text_projection": await Tensor.zeros([1]),
    });
    expect(await load(xl)).toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringMatching(/Stable Diffusion XL model/),
    });
  });

  test("pickles, with how to convert them", async () => {
    for (const name of ["model.ckpt", "renamed.safetensors"]) {
      await writeFile(
        join(scratch, name),
        Buffer.concat([Buffer.from("PK\x03\x04archive/data.pkl"), Buffer.alloc(100)]),
      );
      expect((await load(join(scratch, name))).code).toBe("ERR_SAFETENSORS");
    }
    expect((await load(join(scratch, "model.ckpt"))).message).toMatch(/save_file/);
  });

  test("bad arguments", async () => {
    for (const options of [
      { config: 3 },
      { predictionType: "x" },
      { tokenizer: {} },
      { scheduler: 4 },
      { dtype: "int64" },
    ])
      expect((await load(files["ip2p-tiny"]!, options)).code).toBe("ERR_INVALID_ARGUMENT");
    expect((await load(join(scratch, "none.safetensors"))).code).toBe("ERR_FILE_NOT_FOUND");
    expect((await load("")).code).toBe("ERR_INVALID_ARGUMENT");
  });
});

test("views are checked against the file", async () => {
  const path = join(scratch, "matrix.safetensors");
  const matrix = Tensor.from(
    Float32Array.from({ length: 32 * 8 }, (_, i) => i),
    [32, 8],
  );
  await saveSafetensors(path, { matrix });
  const view = { source: "matrix", name: "quant_conv.bias", shape: [8], first: 8, transposed: false };
  const load = (change: object) =>
    failure(
      native().loadModel(
        "AutoencoderKL",
        { ...vaeConfig },
        [path],
        {
          dtype: "float32",
          device: "cpu",
          attention: "auto",
          quantization: "none",
          allowNonFinite: false,
          views: [{ ...view, ...change }],
        },
        null,
      ),
    );
  using vae = await AutoencoderKL.fromPretrained(fixture("ip2p-tiny", "model", "vae"));
  const vaeConfig = vae.config;
  expect((await load({})).message).not.toMatch(/misshapen|unexpected/);
  expect((await load({ source: "other" })).message).toMatch(/no tensor "other"/);
  for (const change of [{ first: 249 }, { first: -1 }, { first: 2 ** 40 }, { shape: [2 ** 31] }])
    expect((await load(change)).message).toMatch(/too few elements/);
  expect((await load({ transposed: true })).message).toMatch(/only a matrix can be transposed/);
  expect((await load({ shape: [4, 2], transposed: true })).message).toMatch(/is \[2,4\]/);
});

test("a transposed view is the transpose, to the bit", async () => {
  const folder = fixture("ip2p-tiny", "model", "unet");
  using unet = await UNet2DConditionModel.fromPretrained(folder);
  const state = await unet.stateDict();
  const name = "time_embedding.linear_1.weight";
  const [rows, columns] = state[name]!.shape as [number, number];
  const values = (await state[name]!.toArray()) as Float32Array;
  const turned = Float32Array.from(
    { length: values.length },
    (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!,
  );
  const path = join(scratch, "transposed.safetensors");
  await saveSafetensors(path, { ...state, [name]: Tensor.from(turned, [columns, rows]) });
  const views = Object.entries(state).map(([source, { shape }]) => {
    const transposed = source === name;
    return { source, name: source, shape: transposed ? [columns, rows] : shape, first: 0, transposed };
  });
  const nativeConfig = unetToNative(unet.config, folder);
  const options = { dtype: "float32", device: "cpu", attention: "auto", quantization: "none" } as const;
  const loaded = await native().loadModel(
    "UNet2DConditionModel",
    nativeConfig,
    [path],
    { ...options, allowNonFinite: false, views },
    null,
  );
  const read = (await native().modelStateDict(loaded))[name]!;
  expect(await native().equal(read, state[name]!.handle)).toBe(true);
  loaded.dispose();
});

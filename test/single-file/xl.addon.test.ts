import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../../lib/models/clip_text_model_with_projection.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionXLPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
import { StableDiffusionXLImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { EulerDiscreteScheduler } from "../../lib/schedulers/index.js";
import { builtInTokenizer } from "../../lib/tokenizer/built-in.js";
import { CLIPTokenizer } from "../../lib/tokenizer/clip_tokenizer.js";
import { fixture } from "../helpers/fixtures.js";
import { expectSameState } from "../helpers/same-state.js";
import { writeXLFile } from "./make-xl.js";

const scratch = mkdtempSync(join(tmpdir(), "ip2p-xl-file-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const BASE = ["sdxl-img2img", "model"];
const REFINER = ["sdxl-img2img", "refiner"];
const EDIT = ["sdxl-ip2p", "model"];
const image = fixture("sdxl-img2img", "image.png");
const run = { prompt: "a castle", image, numInferenceSteps: 3, seed: 1, outputType: "tensor" } as const;
const files: Record<string, string> = {};
beforeAll(async () => {
  files.base = await writeXLFile(join(scratch, "base.safetensors"), fixture(...BASE));
  files.refiner = await writeXLFile(join(scratch, "refiner.safetensors"), fixture(...REFINER));
  files.edit = await writeXLFile(join(scratch, "edit.safetensors"), fixture(...EDIT));
  const levels = { "edm_vpred.sigma_max": Tensor.from([120], []), "edm_vpred.sigma_min": Tensor.from([0.002], []) };
  files.cosxl = await writeXLFile(join(scratch, "cosxl.safetensors"), fixture(...EDIT), levels);
});

// biome-ignore lint/suspicious/noExplicitAny: each class has options of its own
type AnyClass = any;

describe("a single file is the model of its folder", () => {
  test.each([
    ["base", StableDiffusionXLPipeline, BASE, { height: 16, width: 16, image: undefined }],
    ["base", StableDiffusionXLImg2ImgPipeline, BASE, { strength: 0.7 }],
    ["refiner", StableDiffusionXLImg2ImgPipeline, REFINER, { strength: 0.7 }],
    ["edit", StableDiffusionXLInstructPix2PixPipeline, EDIT, {}],
  ])("%s, %o", async (name, Class: AnyClass, folder, more) => {
    const config = fixture(...folder);
    using fromFile = await Class.fromSingleFile(files[name]!, { config, device: "cpu" });
    using fromFolder = await Class.fromPretrained(config, { device: "cpu" });
    for (const part of ["vae", "unet", "textEncoder", "textEncoder2"])
      if (fromFolder[part]) await expectSameState(fromFile[part], fromFolder[part]);
      else expect(fromFile[part]).toBeNull();
    expect(fromFile.settings).toEqual(fromFolder.settings);
    const options = Object.fromEntries(Object.entries({ ...run, ...more }).filter(([, value]) => value !== undefined));
    const [{ images: one }, { images: other }] = [await fromFile.run(options), await fromFolder.run(options)];
    expect(await one.toArray()).toEqual(await other.toArray());
  });
});

test("without a folder configurations are inferred; settings, tokenizers and scheduler are the published ones", async () => {
  const text = { hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 1 };
  const unet = await UNet2DConditionModel.fromConfig({
    sample_size: 128,
    block_out_channels: [64, 128],
    down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types: ["CrossAttnUpBlock2D", "UpBlock2D"],
    layers_per_block: 1,
    transformer_layers_per_block: [1, 2],
    attention_head_dim: [1, 2],
    cross_attention_dim: 128,
    use_linear_projection: true,
    addition_embed_type: "text_time",
    addition_time_embed_dim: 16,
    projection_class_embeddings_input_dim: 48 + 6 * 16,
  });
  const vae = await AutoencoderKL.fromConfig({
    block_out_channels: [32, 64],
    down_block_types: ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    up_block_types: ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    layers_per_block: 1,
    scaling_factor: 0.13025,
  });
  const folder = join(scratch, "small");
  using made = new StableDiffusionXLPipeline({
    ...{ unet, vae },
    textEncoder: await CLIPTextModel.fromConfig({ ...text, hidden_act: "quick_gelu" }),
    textEncoder2: await CLIPTextModelWithProjection.fromConfig({ ...text, hidden_act: "gelu", projection_dim: 48 }),
    tokenizer: await CLIPTokenizer.fromPretrained(builtInTokenizer),
    tokenizer2: await CLIPTokenizer.fromPretrained(builtInTokenizer, { padToken: "!" }),
    scheduler: EulerDiscreteScheduler.fromConfig({
      ...{ beta_start: 0.00085, beta_end: 0.012, beta_schedule: "scaled_linear" },
      ...{ timestep_spacing: "leading", steps_offset: 1 },
    }),
  });
  await made.savePretrained(folder);
  const file = await writeXLFile(join(scratch, "small.safetensors"), folder);
  using found = await StableDiffusionXLPipeline.fromSingleFile(file, { device: "cpu" });
  for (const part of ["vae", "unet", "textEncoder2"] as const) await expectSameState(found[part], made[part]);
  await expectSameState(found.textEncoder!, made.textEncoder!);
  expect(found.settings).toEqual(made.settings);
  const options = { ...run, image: undefined, height: 16, width: 16, prompt: "a red castle" };
  const { image: _image, ...own } = options;
  const [{ images: one }, { images: other }] = [await found.run(own), await made.run(own)];
  expect(await one.toArray()).toEqual(await other.toArray());
});

test("CosXL's files say that their UNets take the noise levels of EDM, and scaled image latents", async () => {
  const config = fixture(...EDIT);
  using pipe = await StableDiffusionXLInstructPix2PixPipeline.fromSingleFile(files.cosxl!, { config, device: "cpu" });
  // A folder of configurations decides, where there is one.
  expect([pipe.isCosxlEdit, pipe.scheduler.className]).toEqual([false, "EulerDiscreteScheduler"]);
});

test("the second text encoder loads as its own class, and files of other families are refused", async () => {
  const config = fixture(...BASE, "text_encoder_2");
  using second = await CLIPTextModelWithProjection.fromSingleFile(files.base!, { config });
  expect(second).toBeInstanceOf(CLIPTextModelWithProjection);
  using expected = await CLIPTextModelWithProjection.fromPretrained(config);
  await expectSameState(second, expected);
  await expect(CLIPTextModel.fromSingleFile(files.refiner!, { config })).rejects.toMatchObject({
    code: "ERR_STATE_DICT",
    message: expect.stringMatching(/holds no text_encoder/),
  });
  await expect(StableDiffusionPipeline.fromSingleFile(files.base!, {})).rejects.toMatchObject({
    code: "ERR_CONFIG",
    message: expect.stringMatching(/is a Stable Diffusion XL model, which StableDiffusionPipeline does not run/),
  });
  const base = StableDiffusionXLPipeline.fromSingleFile(files.refiner!, { config: fixture(...REFINER) });
  await expect(base).rejects.toMatchObject({ code: "ERR_CONFIG" });
});

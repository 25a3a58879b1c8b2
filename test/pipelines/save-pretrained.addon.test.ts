import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSafetensorsHeader } from "../../lib/files/safetensors.js";
import { CLIPTextModelWithProjection } from "../../lib/models/clip_text_model_with_projection.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { StableDiffusionInpaintPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { StableDiffusionXLPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
import { StableDiffusionXLImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { EulerDiscreteScheduler } from "../../lib/schedulers/index.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { expectSameState } from "../helpers/same-state.js";
import { quickEdit, tinyImage, tinyModel, tinyPipeline } from "../runtime/tiny.js";
import { copyWithChannels } from "../single-file/make.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-save-pretrained-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const onCpu = { device: "cpu" };
const call = { prompt: "a house in the snow", numInferenceSteps: 2, seed: 1 };
const sized = { ...call, height: 64, width: 64 };

const KINDS = [
  {
    className: "StableDiffusionPipeline",
    channels: 4,
    load: (from: string) => StableDiffusionPipeline.fromPretrained(from, onCpu),
    run: (pipe: unknown) => (pipe as StableDiffusionPipeline).run(sized),
  },
  {
    className: "StableDiffusionImg2ImgPipeline",
    channels: 4,
    load: (from: string) => StableDiffusionImg2ImgPipeline.fromPretrained(from, onCpu),
    run: (pipe: unknown) => (pipe as StableDiffusionImg2ImgPipeline).run({ ...call, image: tinyImage }),
  },
  {
    className: "StableDiffusionInpaintPipeline",
    channels: 9,
    load: (from: string) => StableDiffusionInpaintPipeline.fromPretrained(from, onCpu),
    run: (pipe: unknown) =>
      (pipe as StableDiffusionInpaintPipeline).run({ ...sized, image: tinyImage, maskImage: tinyImage }),
  },
  {
    className: "StableDiffusionInstructPix2PixPipeline",
    channels: 8,
    load: (from: string) => InstructPix2PixPipeline.fromPretrained(from, onCpu),
    run: (pipe: unknown) => (pipe as InstructPix2PixPipeline).run({ ...call, image: tinyImage }),
  },
];

test.each(KINDS)("$className: a saved folder is complete, and loads as the same", async (kind) => {
  const source = await copyWithChannels(join(folder, `from-${kind.className}`), "ip2p-tiny", kind.channels);
  using pipe = await kind.load(source);
  pipe.scheduler = EulerDiscreteScheduler.fromConfig(pipe.scheduler.config);
  const target = join(folder, kind.className);
  await pipe.savePretrained(target);
  rmSync(source, { recursive: true });
  expect(readJson(join(target, "model_index.json"))).toEqual({
    _class_name: kind.className,
    _diffusers_version: expect.any(String),
    feature_extractor: [null, null],
    image_encoder: [null, null],
    requires_safety_checker: false,
    safety_checker: [null, null],
    scheduler: ["diffusers", "EulerDiscreteScheduler"],
    text_encoder: ["transformers", "CLIPTextModel"],
    tokenizer: ["transformers", "CLIPTokenizer"],
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
  });
  using again = await kind.load(target);
  for (const part of ["vae", "textEncoder", "unet"] as const) {
    // The version is that of the format in which it was saved.
    expect({ ...again[part].config, _diffusers_version: null }).toEqual({
      ...pipe[part].config,
      _diffusers_version: null,
    });
    await expectSameState(again[part], pipe[part]);
  }
  const [{ images: one }, { images: other }] = [await kind.run(pipe), await kind.run(again)];
  expect(other[0]!.data).toEqual(one[0]!.data);
});

test("a text encoder with a projection does not take the place of one without", async () => {
  using projected = await CLIPTextModelWithProjection.fromPretrained(
    fixture("sdxl-img2img", "model", "text_encoder_2"),
    onCpu,
  );
  const load = InstructPix2PixPipeline.fromPretrained(tinyModel, { ...onCpu, textEncoder: projected });
  await expect(load).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});

const MODULES = {
  scheduler: ["diffusers", "EulerDiscreteScheduler"],
  text_encoder: ["transformers", "CLIPTextModel"],
  text_encoder_2: ["transformers", "CLIPTextModelWithProjection"],
  tokenizer: ["transformers", "CLIPTokenizer"],
  tokenizer_2: ["transformers", "CLIPTokenizer"],
  unet: ["diffusers", "UNet2DConditionModel"],
  vae: ["diffusers", "AutoencoderKL"],
};
const LACKING = { feature_extractor: [null, null], image_encoder: [null, null] };
const NONE = { text_encoder: [null, null], tokenizer: [null, null] };

test.each([
  {
    Class: StableDiffusionXLPipeline,
    model: ["sdxl-img2img", "model"],
    given: { forceZerosForEmptyPrompt: false, addWatermarker: false },
    saved: { ...MODULES, ...LACKING, force_zeros_for_empty_prompt: false, add_watermarker: false },
  },
  {
    Class: StableDiffusionXLImg2ImgPipeline,
    model: ["sdxl-img2img", "refiner"],
    given: {},
    saved: {
      ...{ ...MODULES, ...LACKING, ...NONE },
      ...{ force_zeros_for_empty_prompt: false, requires_aesthetics_score: true },
    },
  },
  {
    Class: StableDiffusionXLInstructPix2PixPipeline,
    model: ["sdxl-ip2p", "model"],
    given: {},
    saved: { ...MODULES, force_zeros_for_empty_prompt: true },
  },
  {
    Class: StableDiffusionXLInstructPix2PixPipeline,
    model: ["sdxl-ip2p", "model"],
    given: { isCosxlEdit: true, addWatermarker: true },
    saved: { ...MODULES, force_zeros_for_empty_prompt: true, is_cosxl_edit: true, add_watermarker: true },
  },
])("$Class.name, $given: settings are saved and loaded", async ({ Class, model, given, saved }) => {
  const load = Class.fromPretrained as (from: string, options: object) => Promise<StableDiffusionXLPipeline>;
  using pipe = await load.call(Class, fixture(...model), { ...onCpu, ...given });
  const target = join(folder, "xl");
  await pipe.savePretrained(target);
  expect(readJson(join(target, "model_index.json"))).toEqual({
    ...{ _class_name: Class.name, _diffusers_version: expect.any(String) },
    ...saved,
  });
  using again = await load.call(Class, target, onCpu);
  expect(again.settings).toEqual(pipe.settings);
  const share = Class.fromPipe as (from: object) => StableDiffusionXLPipeline;
  using shared = share.call(Class, again);
  expect(shared.settings).toEqual(pipe.settings);
});

test("weights are saved in their types, and results of the pipeline may still be remembered", async () => {
  using pipe = await InstructPix2PixPipeline.fromPretrained(tinyModel, {
    ...onCpu,
    dtype: "bfloat16",
    vaeDtype: "float32",
  });
  await pipe.savePretrained(join(folder, "types"));
  const types = async (part: string, name: string) => [
    ...new Set(
      [...(await readSafetensorsHeader(join(folder, "types", part, name))).values()].map(({ dtype }) => dtype),
    ),
  ];
  expect(await types("unet", "diffusion_pytorch_model.safetensors")).toEqual(["BF16"]);
  expect(await types("text_encoder", "model.safetensors")).toEqual(["BF16"]);
  expect(await types("vae", "diffusion_pytorch_model.safetensors")).toEqual(["F32"]);
  expect(pipe.textEncoder.weightsMayChange).toBe(false);
});

test("saving over the folder that the pipeline was loaded from keeps it whole", async () => {
  const own = await copyWithChannels(join(folder, "own"), "ip2p-tiny", 8);
  using pipe = await InstructPix2PixPipeline.fromPretrained(own, onCpu);
  const { images } = await pipe.run(quickEdit());
  await pipe.savePretrained(own);
  using again = await InstructPix2PixPipeline.fromPretrained(own, onCpu);
  expect((await again.run(quickEdit())).images[0]!.data).toEqual(images[0]!.data);
});

test("what cannot be saved is refused before anything is written", async () => {
  const target = join(folder, "refused");
  using quantized = await InstructPix2PixPipeline.fromPretrained(tinyModel, { ...onCpu, quantization: "int8" });
  await expect(quantized.savePretrained(target)).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringMatching(/quantization "int8"/),
  });
  const disposed = await tinyPipeline();
  disposed.dispose();
  await expect(disposed.savePretrained(target)).rejects.toMatchObject({ code: "ERR_DISPOSED" });
  using pipe = await tinyPipeline();
  for (const bad of ["", 3, undefined])
    await expect(pipe.savePretrained(bad as string)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  expect(existsSync(target)).toBe(false);
  const file = join(tinyModel, "model_index.json");
  await expect(pipe.savePretrained(join(file, "below"))).rejects.toMatchObject({ code: "ERR_IO" });
  expect(readdirSync(tinyModel)).not.toContain("below");
});

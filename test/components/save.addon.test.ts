import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { filesOf } from "../../lib/components/files.js";
import { registeredClass } from "../../lib/components/registry.js";
import { copiedComponent, type SavedPipeline, saveComponents, savedComponents } from "../../lib/components/save.js";
import { INSTRUCT_PIX2PIX } from "../../lib/pipelines/components.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { DPMSolverMultistepScheduler, EulerDiscreteScheduler } from "../../lib/schedulers/index.js";
import { readJson } from "../helpers/fixtures.js";
import { quickEdit, tinyModel, tinyPipeline } from "../runtime/tiny.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-save-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function saved(pipe: InstructPix2PixPipeline): SavedPipeline {
  return { className: INSTRUCT_PIX2PIX.className, components: savedComponents(INSTRUCT_PIX2PIX, pipe) };
}

test("a pipeline saved as it was loaded gives the same images when it is loaded again", async () => {
  using pipe = await tinyPipeline();
  pipe.scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config, {
    lambda_min_clipped: Number.NEGATIVE_INFINITY,
  });
  const target = join(folder, "whole");
  await saveComponents(target, {
    ...saved(pipe),
    settings: { requires_safety_checker: false },
    files: { "README.md": "# A model" },
  });
  expect(readdirSync(target).sort()).toEqual(["README.md", ...readdirSync(tinyModel)].sort());
  expect(readJson(join(target, "model_index.json"))).toEqual({
    _class_name: "StableDiffusionInstructPix2PixPipeline",
    _diffusers_version: expect.any(String),
    feature_extractor: [null, null],
    requires_safety_checker: false,
    safety_checker: [null, null],
    scheduler: ["diffusers", "DPMSolverMultistepScheduler"],
    text_encoder: ["transformers", "CLIPTextModel"],
    tokenizer: ["transformers", "CLIPTokenizer"],
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
  });
  // transformers refuses a whole number for a float.
  expect(readFileSync(join(target, "text_encoder", "config.json"), "utf8")).toContain('"initializer_factor": 1.0,');
  // As Python's json module writes what JSON has no notation for.
  expect(readFileSync(join(target, "scheduler", "scheduler_config.json"), "utf8")).toContain(
    '"lambda_min_clipped": -Infinity',
  );
  using again = await InstructPix2PixPipeline.fromPretrained(target, { device: "cpu" });
  expect(again.scheduler.className).toBe("DPMSolverMultistepScheduler");
  const { images: one } = await pipe.run(quickEdit());
  const { images: other } = await again.run(quickEdit());
  expect(other[0]!.data).toEqual(one[0]!.data);
});

test("a failure leaves the earlier model as it was, and nothing unfinished", async () => {
  using pipe = await tinyPipeline();
  const target = join(folder, "kept");
  await saveComponents(target, saved(pipe));
  writeFileSync(join(target, "notes.txt"), "mine");
  const before = readdirSync(target, { recursive: true }).sort();
  const { components, ...rest } = saved(pipe);
  const failing = { ...components.unet!, write: () => Promise.reject(Object.assign(new Error(), { code: "ENOSPC" })) };
  await expect(saveComponents(target, { ...rest, components: { ...components, unet: failing } })).rejects.toMatchObject(
    {
      code: "ERR_IO",
      message: expect.stringContaining("the disk is full"),
    },
  );
  expect(readdirSync(target, { recursive: true }).sort()).toEqual(before);
  using _ = await InstructPix2PixPipeline.fromPretrained(target, { device: "cpu" });
});

test("components of classes that are not registered cannot be saved", async () => {
  using pipe = await tinyPipeline();
  class MyScheduler extends EulerDiscreteScheduler {}
  const scheduler = new Proxy(new MyScheduler(), {
    get: (target, key) => (key === "className" ? "MyScheduler" : Reflect.get(target, key)),
  });
  expect(() => savedComponents(INSTRUCT_PIX2PIX, { ...pipe, ...components(pipe), scheduler })).toThrow(/scheduler/);
});

function components({ vae, unet, textEncoder, tokenizer }: InstructPix2PixPipeline) {
  return { vae, unet, textEncoder, tokenizer };
}

test("a copy takes the variant that is asked for, under the plain name", async () => {
  const source = join(folder, "variants");
  const target = join(folder, "copy");
  const part = (name: string) => join(tinyModel, "unet", name);
  await saveComponents(source, {
    className: "P",
    components: { unet: copiedComponent(registeredClass("UNet2DConditionModel"), join(tinyModel, "unet")) },
  });
  const plain = join(source, "unet", "diffusion_pytorch_model.safetensors");
  expect(readFileSync(plain).equals(readFileSync(part("diffusion_pytorch_model.safetensors")))).toBe(true);
  copyFileSync(part("config.json"), join(source, "unet", "diffusion_pytorch_model.fp16.safetensors"));
  await saveComponents(target, {
    className: "P",
    components: {
      unet: copiedComponent(registeredClass("UNet2DConditionModel"), join(source, "unet"), "fp16"),
      vae: null,
    },
  });
  expect(readFileSync(join(target, "unet", "diffusion_pytorch_model.safetensors"))).toEqual(
    readFileSync(part("config.json")),
  );
  expect(readJson(join(target, "model_index.json"))).toMatchObject({
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: [null, null],
  });
});

test("files of classes that are not registered follow from their names and libraries", () => {
  expect(filesOf({ library: "transformers", className: "CLIPVisionModel" })).toEqual({
    kind: "model",
    config: "config.json",
    weights: "model",
  });
  expect(filesOf({ library: "diffusers", className: "MotionAdapter" })).toMatchObject({
    weights: "diffusion_pytorch_model",
  });
  expect(filesOf({ library: "transformers", className: "T5TokenizerFast" })).toEqual({ kind: "tokenizer" });
  expect(filesOf({ library: "diffusers", className: "NewScheduler" })).toEqual({
    kind: "scheduler",
    config: "scheduler_config.json",
  });
});

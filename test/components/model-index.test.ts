import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { componentClass, parseModelIndex, readModelIndex } from "../../lib/components/model-index.js";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { someOf } from "../helpers/cases.js";
import { mutatedText } from "../models/mutated-text.js";

const published = {
  _class_name: "StableDiffusionInstructPix2PixPipeline",
  _diffusers_version: "0.13.0.dev0",
  feature_extractor: ["transformers", "CLIPImageProcessor"],
  image_encoder: [null, null],
  requires_safety_checker: false,
  safety_checker: ["stable_diffusion", "StableDiffusionSafetyChecker"],
  scheduler: ["diffusers", "EulerAncestralDiscreteScheduler"],
  text_encoder: ["transformers", "CLIPTextModel"],
  unet: ["diffusers", "UNet2DConditionModel"],
};

const parse = (changes: Record<string, unknown>) =>
  parseModelIndex(JSON.stringify({ ...published, ...changes }), "model_index.json");

describe("model_index.json", () => {
  test("gives the pipeline's class, its components and its settings", async () => {
    const folder = await mkdtemp(join(tmpdir(), "ip2p-model-index-"));
    try {
      await writeFile(join(folder, "model_index.json"), JSON.stringify(published));
      const index = await readModelIndex(folder);
      expect(index.className).toBe("StableDiffusionInstructPix2PixPipeline");
      expect(index.components.get("unet")).toEqual({ library: "diffusers", className: "UNet2DConditionModel" });
      expect(index.components.get("image_encoder")).toBeNull();
      expect([...index.components.keys()]).toEqual([
        "feature_extractor",
        "image_encoder",
        "safety_checker",
        "scheduler",
        "text_encoder",
        "unet",
      ]);
      expect(index.settings).toEqual({ requires_safety_checker: false });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("absent is not found", async () => {
    await expect(readModelIndex("/nowhere/at/all")).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: expect.stringContaining("model_index.json"),
    });
  });

  test("a component's class must be one of those known", () => {
    const index = parse({});
    expect(componentClass(index, "unet", ["UNet2DConditionModel"])).toBe("UNet2DConditionModel");
    expect(() => componentClass(index, "unet", ["AutoencoderKL"])).toThrow(
      'model_index.json: "unet" is a UNet2DConditionModel of diffusers, which is not supported; known: AutoencoderKL',
    );
    expect(() => componentClass(index, "vae", ["AutoencoderKL"])).toThrow('the pipeline has no "vae"');
    expect(() => componentClass(index, "image_encoder", ["X"])).toThrow('the pipeline has no "image_encoder"');
    expect(() => componentClass(parse({ unet: "UNet2DConditionModel" }), "unet", ["UNet2DConditionModel"])).toThrow(
      'no "unet"',
    );
  });

  test.each([
    [["os", "system; rm"]],
    [["diffusers.models", "UNet2DConditionModel"]],
    [["diffusers_modules.local.custom", "MyUNet"]],
    [["diffusers", "models.UNet2DConditionModel"]],
    [["diffusers", "../UNet"]],
    [["diffusers", "UNet\u0000"]],
    [["", ""]],
    [["diffusers", ""]],
    [["diffusers", "é"]],
    [["diffusers", null]],
    [[null, "UNet2DConditionModel"]],
    [["diffusers", 1]],
    [["diffusers"]],
    [["diffusers", "UNet2DConditionModel", {}]],
    [[]],
    [[["diffusers"], ["UNet2DConditionModel"]]],
  ])("an invalid class name is refused: %j", (unet) => {
    expect(() => parse({ unet })).toThrow(/^model_index\.json: "unet" is .*expected \[library, class\]/);
  });

  test.each(["../unet", "/unet", "a/b", "a\\b", "..", ".", "", "C:", "é", "unet\0", "a b", "x".repeat(200)])(
    "a component cannot be called %j",
    (name) => {
      expect(() => parse({ [name]: ["diffusers", "UNet2DConditionModel"] })).toThrow(/not the name of a component/);
    },
  );

  test.each([undefined, null, 1, "", "a.b", "../x", ["pipeline", "MyPipeline"], {}])(
    "the pipeline's class cannot be %j",
    (name) => {
      expect(() => parse({ _class_name: name })).toThrow(/"_class_name" is .*not the name of a pipeline class/);
    },
  );

  test("of any text is an index or a typed error", () => {
    const identifier = /^[A-Za-z_]\w*$/;
    let read = 0;
    fc.assert(
      fc.property(mutatedText(JSON.stringify(published)), (text) => {
        try {
          const index = parseModelIndex(text, "model_index.json");
          expect(index.className).toMatch(identifier);
          for (const [name, component] of index.components)
            for (const part of [name, component?.library ?? "x", component?.className ?? "x"])
              expect(part).toMatch(identifier);
          ++read;
        } catch (error) {
          expect(error).toBeInstanceOf(InstructPix2PixError);
          expect((error as InstructPix2PixError).code).toBe("ERR_CONFIG");
          expect((error as Error).message).toMatch(/^model_index\.json: [^\n\r]+$/);
        }
      }),
      { numRuns: someOf(10_000), seed: 1 },
    );
    expect(read).toBeGreaterThan(someOf(100));
  });
});

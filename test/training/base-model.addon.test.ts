import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { resolveOptions } from "../../lib/options/parse.js";
import { native } from "../../lib/runtime/native.js";
import { trainOptions } from "../../lib/training/options.js";
import { instructPix2Pix } from "../../lib/training/recipes/instruct_pix2pix/recipe.js";
import { fixture } from "../helpers/fixtures.js";
import { objectsLeftBehind } from "../runtime/tiny.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-base-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const load = (base: string) =>
  instructPix2Pix.load(resolveOptions(trainOptions, { pretrainedModelNameOrPath: base }), {
    device: "cpu",
    frozenDType: "float32",
  });

let copies = 0;
/** A text-to-image model, with some entries of a file changed. */
function changed(file: string, entries: object): string {
  const target = join(folder, String(copies++));
  cpSync(fixture("script-basic", "base"), target, { recursive: true });
  const path = join(target, file);
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...entries }));
  return target;
}

test("a text-to-image model is taken, and its scheduler is of the class that the index names", async () => {
  const base = await load(changed("model_index.json", { scheduler: ["diffusers", "LMSDiscreteScheduler"] }));
  expect([base.unet.config.in_channels, base.extended, base.scheduler.className]).toEqual([
    8,
    true,
    "LMSDiscreteScheduler",
  ]);
  await base.dispose();
});

test.each([
  ["unet/config.json", { in_channels: 9 }, /takes 9 channels/],
  ["unet/config.json", { cross_attention_dim: 24 }, /"cross_attention_dim" 24/],
  ["text_encoder/config.json", { vocab_size: 10 }, /"vocab_size" is 10/],
  ["model_index.json", { vae: ["diffusers", "AutoencoderTiny"] }, /AutoencoderTiny/],
  ["model_index.json", { scheduler: ["diffusers", "NoScheduler"] }, /NoScheduler/],
  ["scheduler/scheduler_config.json", { prediction_type: "sample" }, /prediction_type/],
])("with %s %j it is refused before weights are read", async (file, entries, message) => {
  const spy = vi.spyOn(native(), "loadModel");
  try {
    await expect(load(changed(file, entries))).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringMatching(message),
    });
    expect(spy).not.toHaveBeenCalled();
  } finally {
    spy.mockRestore();
  }
});

test.each(["text_encoder", "vae", "unet"])(
  "where the weights of %s cannot be read, nothing stays loaded",
  async (part) => {
    const broken = changed("model_index.json", {});
    const name = part === "text_encoder" ? "model.safetensors" : "diffusion_pytorch_model.safetensors";
    writeFileSync(join(broken, part, name), "none");
    const left = await objectsLeftBehind(() => expect(load(broken)).rejects.toMatchObject({ code: "ERR_SAFETENSORS" }));
    expect(left).toBe(0);
  },
);

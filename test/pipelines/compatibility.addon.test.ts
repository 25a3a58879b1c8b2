import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { native } from "../../lib/runtime/native.js";
import { DDPMScheduler } from "../../lib/schedulers/index.js";
import { quickEdit, tinyModel, tinyPipeline } from "../runtime/tiny.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-fit-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let models = 0;
/** The tiny model without its weights, with some entries of a file changed. */
function changed(file: string, entries: object): string {
  const target = join(folder, String(models++));
  cpSync(tinyModel, target, { recursive: true, filter: (path) => !path.endsWith(".safetensors") });
  const path = join(target, file);
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...entries }));
  return target;
}

test.each([
  [
    "unet/config.json",
    { in_channels: 4 },
    /takes 4 channels, not the 8 of an InstructPix2Pix model: it is a text-to-image model.*ip2p generate/,
  ],
  [
    "unet/config.json",
    { in_channels: 9 },
    /takes 9 channels, not the 8 of an InstructPix2Pix model: it is an inpainting model/,
  ],
  ["unet/config.json", { cross_attention_dim: 24 }, /"hidden_size" is 32.*"cross_attention_dim" 24/],
  ["unet/config.json", { out_channels: 8 }, /predicts 8 channels/],
  ["vae/config.json", { latent_channels: 16 }, /takes 8 channels, not the 32 of an InstructPix2Pix model/],
  ["vae/config.json", { in_channels: 1 }, /"in_channels" is 1/],
  ["text_encoder/config.json", { hidden_size: 64 }, /"hidden_size" is 64/],
  ["text_encoder/config.json", { vocab_size: 10 }, /"vocab_size" is 10/],
  ["scheduler/scheduler_config.json", { prediction_type: "what" }, /prediction_type/],
  ["model_index.json", { unet: ["diffusers", "UNet3DConditionModel"] }, /UNet3DConditionModel/],
  ["model_index.json", { scheduler: ["diffusers", "NoScheduler"] }, /NoScheduler/],
  ["model_index.json", { scheduler: ["diffusers", "DDPMScheduler"] }, null],
])("%s with %j is refused by its configurations", async (file, entries, message) => {
  const load = vi.spyOn(native(), "loadModel");
  try {
    const loading = InstructPix2PixPipeline.fromPretrained(changed(file, entries), { device: "cpu" });
    // Without weights there is another error where nothing is refused.
    await expect(loading).rejects.toMatchObject(
      message ? { code: "ERR_CONFIG", message: expect.stringMatching(message) } : { code: "ERR_FILE_NOT_FOUND" },
    );
    expect(load).not.toHaveBeenCalled();
  } finally {
    load.mockRestore();
  }
});

test.each([
  { components: ["unet"] },
  { subfolder: "unet" },
  { allowPatterns: ["*.json"] },
  { ignorePatterns: ["*.bin"] },
  null,
])("%j is not an option of a pipeline", async (options) => {
  const loading = InstructPix2PixPipeline.fromPretrained("/nowhere", options as never);
  const name = options ? Object.keys(options)[0]! : "options";
  await expect(loading).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining(name) });
});

test("replaced components are checked before anything is computed, as far as a run needs them", async () => {
  using pipe = await tinyPipeline();
  const forward = vi.spyOn(native(), "clipTextForward");
  const encode = vi.spyOn(native(), "vaeEncode");
  const refused = async (part: "unet" | "vae" | "textEncoder", entries: object, options = quickEdit()) => {
    const original = pipe[part];
    pipe[part] = { config: { ...original.config, ...entries }, device: original.device } as never;
    try {
      await expect(pipe.run(options)).rejects.toMatchObject({ code: "ERR_CONFIG" });
    } finally {
      pipe[part] = original as never;
    }
  };
  try {
    await refused("unet", { in_channels: 4 });
    await refused("unet", { cross_attention_dim: 16 });
    await refused("vae", { latent_channels: 8 });
    await refused("textEncoder", { vocab_size: 5 });
    const { scheduler } = pipe;
    pipe.scheduler = DDPMScheduler.fromConfig(scheduler.config, { variance_type: "learned" });
    await expect(pipe.run(quickEdit())).rejects.toMatchObject({ code: "ERR_CONFIG" });
    pipe.scheduler = scheduler;
    const narrow = await Tensor.zeros([1, 7, 16]);
    await expect(pipe.run(quickEdit({ promptEmbeds: narrow }))).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    expect(forward).not.toHaveBeenCalled();
    expect(encode).not.toHaveBeenCalled();
  } finally {
    forward.mockRestore();
    encode.mockRestore();
  }
});

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../../lib/models/clip_text_model_with_projection.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { AutoencoderTrainer } from "../../lib/training/autoencoder-trainer.js";
import type { TrainerOptions } from "../../lib/training/parameter-trainer.js";
import { Trainer } from "../../lib/training/trainer.js";
import { fixture } from "../helpers/fixtures.js";

const options: TrainerOptions = {
  ...{ adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, adamWeightDecay: 1e-2 },
  ...{ optimizer: "adamw", useEma: false, gradientCheckpointing: false, shadowWeights: false, mixedPrecision: null },
};

let folder: string;
let recorded: Record<string, Tensor>;
beforeAll(async () => {
  const files = ["expected.safetensors", "sdxl.safetensors"].map((name) => loadSafetensors(fixture("trainers", name)));
  recorded = Object.assign({}, ...(await Promise.all(files)));
  // A copy, for weights may be mapped from the file.
  folder = mkdtempSync(join(tmpdir(), "ip2p-trainers-"));
  cpSync(fixture("ip2p-tiny", "model"), folder, { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const numbers = async (tensor: Tensor) => Float64Array.from(await tensor.toArray(), Number);
const norm = (values: Float64Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

/** The largest deviation of any gradient or of its norm, relative to its norm; norms near 0 count as rounding. */
async function worst(gradients: Record<string, Tensor>, which: string): Promise<number> {
  const wanted = Object.keys(recorded).filter((name) => name.startsWith(`${which}.norm.`));
  expect(wanted.length).toBeGreaterThan(30);
  const all = norm(
    Float64Array.from(await Promise.all(wanted.map(async (name) => norm(await numbers(recorded[name]!))))),
  );
  let deviation = 0;
  for (const key of wanted) {
    const name = key.slice(`${which}.norm.`.length).replace(/^(text_encoder(?:_2)?)\.text_model\./, "$1.");
    const ours = await numbers(gradients[name]!);
    const size = (await numbers(recorded[key]!))[0]!;
    const scale = Math.max(size, 1e-4 * all);
    deviation = Math.max(deviation, Math.abs(norm(ours) - size) / scale);
    const whole = recorded[key.replace(".norm.", ".gradient.")];
    if (whole) deviation = Math.max(deviation, norm((await numbers(whole)).map((x, i) => x - ours[i]!)) / scale);
  }
  return deviation;
}

describe.each([false, true])("with gradient checkpointing %s", (gradientCheckpointing) => {
  test("the text encoder is trained along with the UNet", async () => {
    using unet = await UNet2DConditionModel.fromPretrained(join(folder, "unet"));
    using textEncoder = await CLIPTextModel.fromPretrained(join(folder, "text_encoder"));
    using trainer = await Trainer.create(unet, { ...options, gradientCheckpointing }, { textEncoder });
    const { sample, timesteps, input_ids: inputIds, target } = inputsOf("denoising");
    const batch = { sample: sample!, timesteps: timesteps!, conditions: { inputIds: [inputIds!] }, target: target! };
    const loss = await (await trainer.accumulate(batch, 1)).item();
    expect(Math.abs(loss / (await recorded["denoising.loss"]!.item()) - 1)).toBeLessThan(1e-6);
    expect(await worst(await trainer.gradients(), "denoising")).toBeLessThan(1e-5);
  });

  test("both text encoders of Stable Diffusion XL are", async () => {
    const place = (name: string) => fixture("sdxl-ip2p", "model", name);
    using unet = await UNet2DConditionModel.fromPretrained(place("unet"));
    using textEncoder = await CLIPTextModel.fromPretrained(place("text_encoder"));
    using textEncoder2 = await CLIPTextModelWithProjection.fromPretrained(place("text_encoder_2"));
    const encoders = { textEncoder, textEncoder2 };
    using trainer = await Trainer.create(unet, { ...options, gradientCheckpointing }, encoders);
    const inputs = inputsOf("sdxl") as Record<string, Tensor>;
    const { sample, timesteps, target, time_ids: timeIds, input_ids_1: first, input_ids_2: second } = inputs;
    const conditions = { inputIds: [first!, second!], addedConditions: { timeIds: timeIds! } };
    const batch = { sample: sample!, timesteps: timesteps!, conditions, target: target! };
    const loss = await (await trainer.accumulate(batch, 1)).item();
    expect(Math.abs(loss / (await recorded["sdxl.loss"]!.item()) - 1)).toBeLessThan(1e-6);
    const gradients = await trainer.gradients();
    expect(Object.keys(gradients).filter((name) => name.startsWith("text_encoder_2.")).length).toBeGreaterThan(10);
    expect(await worst(gradients, "sdxl")).toBeLessThan(1e-5);
    const one = { ...batch, conditions: { ...conditions, inputIds: [first!] } };
    await expect(trainer.accumulate(one, 1)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  });
});

test("an autoencoder is trained to reconstruct", async () => {
  using vae = await AutoencoderKL.fromPretrained(join(folder, "vae"));
  using trainer = await AutoencoderTrainer.create(vae, options);
  const { x, noise } = inputsOf("autoencoder");
  const loss = await (await trainer.accumulate({ x: x!, noise: noise!, klWeight: 0.1 }, 1)).item();
  expect(Math.abs(loss / (await recorded["autoencoder.loss"]!.item()) - 1)).toBeLessThan(1e-6);
  expect(await worst(await trainer.gradients(), "autoencoder")).toBeLessThan(1e-5);
});

test("token ids are refused where no text encoder is trained, and embeddings where one is", async () => {
  using unet = await UNet2DConditionModel.fromPretrained(join(folder, "unet"));
  using textEncoder = await CLIPTextModel.fromPretrained(join(folder, "text_encoder"));
  using alone = await Trainer.create(unet, options);
  using both = await Trainer.create(unet, options, { textEncoder });
  const { sample, timesteps, input_ids: ids, target } = inputsOf("denoising");
  const batch = { sample: sample!, timesteps: timesteps!, target: target! };
  using embeddings = await Tensor.zeros([2, 9, unet.config.cross_attention_dim as number]);
  const refused = { code: "ERR_INVALID_ARGUMENT" };
  await expect(alone.accumulate({ ...batch, conditions: { inputIds: [ids!] } }, 1)).rejects.toMatchObject(refused);
  await expect(both.accumulate({ ...batch, conditions: { embeddings } }, 1)).rejects.toMatchObject(refused);
});

function inputsOf(which: string): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(recorded)
      .filter(([name]) => name.split(".").length === 2 && name.startsWith(`${which}.`))
      .map(([name, tensor]) => [name.slice(which.length + 1), tensor]),
  );
}

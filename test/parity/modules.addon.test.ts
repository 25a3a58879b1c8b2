import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { deviation } from "../helpers/compare.js";
import { fixture } from "../helpers/fixtures.js";

const TOLERANCE = 1e-5;

describe.each(["ip2p-tiny", "ip2p-linear-v"])("single modules of %s give what diffusers gives", (name) => {
  let expected: Record<string, Tensor>;
  beforeAll(async () => {
    expected = await loadSafetensors(fixture(name, "expected.safetensors"));
  });
  afterAll(() => {
    for (const tensor of Object.values(expected)) tensor.dispose();
  });

  test.each(["auto", "math"] as const)("the UNet, %s attention", async (attention) => {
    using unet = await UNet2DConditionModel.fromPretrained(fixture(name, "model/unet"), { attention });
    const timesteps = Array.from(await expected["unet.timestep"]!.toArray(), Number);
    using out = await unet.forward(expected["unet.sample"]!, timesteps, expected["unet.encoder_hidden_states"]!);
    expect((await deviation(out, expected["unet.out"]!)).relative).toBeLessThan(TOLERANCE);
  });

  test("the autoencoder", async () => {
    using vae = await AutoencoderKL.fromPretrained(fixture(name, "model/vae"));
    using posterior = await vae.encode(expected["vae.image"]!);
    expect((await deviation(posterior.mean, expected["vae.mean"]!)).relative).toBeLessThan(TOLERANCE);
    expect((await deviation(posterior.logvar, expected["vae.logvar"]!)).relative).toBeLessThan(TOLERANCE);
    using sample = await posterior.sample(new Generator("cpu", 0));
    expect((await deviation(sample, expected["vae.sample_seed0"]!)).relative).toBeLessThan(TOLERANCE);
    using decoded = await vae.decode(expected["vae.mean"]!);
    expect((await deviation(decoded, expected["vae.decoded"]!)).relative).toBeLessThan(TOLERANCE);
  });

  test("the text encoder", async () => {
    using text = await CLIPTextModel.fromPretrained(fixture(name, "model/text_encoder"));
    const { lastHiddenState } = await text.forward(expected["text.input_ids"]!);
    expect((await deviation(lastHiddenState, expected["text.last_hidden_state"]!)).relative).toBeLessThan(TOLERANCE);
  });
});

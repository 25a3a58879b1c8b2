import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { StableDiffusionImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { StableDiffusionLatentUpscalePipeline } from "../../lib/pipelines/upscale/stable_diffusion_latent_upscale.js";
import { StableDiffusionUpscalePipeline } from "../../lib/pipelines/upscale/stable_diffusion_upscale.js";
import { deviation } from "../helpers/compare.js";
import { fixture } from "../helpers/fixtures.js";
import { replay } from "./replay.js";

const TOLERANCE = 1e-5;

describe.each(["latent-upscale", "upscale-x4"])("single modules of %s give what diffusers gives", (name) => {
  let expected: Record<string, Tensor>;
  beforeAll(async () => {
    expected = await loadSafetensors(fixture(name, "expected.safetensors"));
  });
  afterAll(() => {
    for (const tensor of Object.values(expected)) tensor.dispose();
  });
  const agrees = async (actual: Tensor, key: string) =>
    expect((await deviation(actual, expected[`module.${key}`]!)).relative, key).toBeLessThan(TOLERANCE);

  test.each(["auto", "math"] as const)("the UNet, %s attention", async (attention) => {
    using unet = await UNet2DConditionModel.fromPretrained(fixture(name, "model/unet"), { attention });
    const [sample, timestep, text] = ["sample", "timestep", "encoder_hidden_states"].map(
      (key) => expected[`module.unet.${key}`]!,
    ) as [Tensor, Tensor, Tensor];
    const conditions = {
      timestepCond: expected["module.unet.timestep_cond"],
      classLabels: expected["module.unet.class_labels"],
    };
    await agrees(await unet.forward(sample, timestep, text, conditions), "unet.out");
  });

  test("the text encoder", async () => {
    using encoder = await CLIPTextModel.fromPretrained(fixture(name, "model/text_encoder"));
    const output = await encoder.forward(expected["module.text.input_ids"]!, { hiddenStates: true });
    await agrees(output.lastHiddenState, "text.last_hidden_state");
    await agrees(output.pooled, "text.pooler_output");
    await agrees(output.hiddenStates!.at(-1)!, "text.hidden_states.-1");
  });

  test("the autoencoder", async () => {
    using vae = await AutoencoderKL.fromPretrained(fixture(name, "model/vae"));
    using posterior = await vae.encode(expected["module.vae.image"]!);
    await agrees(posterior.mean, "vae.mean");
    await agrees(posterior.logvar, "vae.logvar");
    await agrees(await posterior.sample(new Generator("cpu", 0)), "vae.sample_seed0");
    await agrees(await vae.decode(expected["module.vae.mean"]!), "vae.decoded");
  });
});

describe("the ×2 latent upscaler", () =>
  replay("latent-upscale", { StableDiffusionImg2ImgPipeline, StableDiffusionLatentUpscalePipeline }));

// Of run 2's one image and prompt both results agree.
describe("the ×4 upscaler", () => replay("upscale-x4", { StableDiffusionUpscalePipeline }));

// Of run 1's two prompts and images the reference mixes those of the results between.
describe("rare calls of the upscalers", () =>
  replay("upscale-more", { StableDiffusionLatentUpscalePipeline, StableDiffusionUpscalePipeline }, { 1: [0, 3] }));

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../../lib/models/clip_text_model_with_projection.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionXLPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
import { StableDiffusionXLImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInpaintPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_inpaint.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { deviation } from "../helpers/compare.js";
import { fixture } from "../helpers/fixtures.js";
import { replay } from "./replay.js";

describe.each(["sdxl-img2img", "sdxl-ip2p"])("single modules of %s", (name) => {
  let expected: Record<string, Tensor>;
  beforeAll(async () => {
    expected = await loadSafetensors(fixture(name, "expected.safetensors"));
  });
  afterAll(() => {
    for (const tensor of Object.values(expected)) tensor.dispose();
  });
  const close = async (actual: Tensor, key: string) =>
    expect((await deviation(actual, expected[key]!)).relative, key).toBeLessThan(1e-5);

  const unets = name === "sdxl-img2img" ? ["", "refiner."] : [""];
  test.each(unets)("%sunet", async (prefix) => {
    const record = (key: string) => expected[`${prefix}unet.${key}`]!;
    const folder = join(prefix === "" ? "model" : "refiner", "unet");
    using unet = await UNet2DConditionModel.fromPretrained(fixture(name, folder));
    const addedConditions = { textEmbeds: record("text_embeds"), timeIds: record("time_ids") };
    const timesteps = Array.from(await record("timestep").toArray(), Number);
    const states = record("encoder_hidden_states");
    using out = await unet.forward(record("sample"), timesteps, states, { addedConditions });
    await close(out, `${prefix}unet.out`);
  });

  test("both text encoders", async () => {
    using text = await CLIPTextModel.fromPretrained(fixture(name, "model/text_encoder"));
    const first = await text.forward(expected["text.input_ids"]!, { hiddenStates: true });
    await close(first.lastHiddenState, "text.last_hidden_state");
    await close(first.hiddenStates!.at(-2)!, "text.hidden_states_m2");
    using text2 = await CLIPTextModelWithProjection.fromPretrained(fixture(name, "model/text_encoder_2"));
    const second = await text2.forward(expected["text2.input_ids"]!, { hiddenStates: true });
    await close(second.lastHiddenState, "text2.last_hidden_state");
    await close(second.hiddenStates!.at(-2)!, "text2.hidden_states_m2");
    await close(second.textEmbeds, "text2.text_embeds");
  });

  test("the autoencoder", async () => {
    using vae = await AutoencoderKL.fromPretrained(fixture(name, "model/vae"));
    using posterior = await vae.encode(expected["vae.image"]!);
    await close(posterior.mean, "vae.mean");
    await close(posterior.logvar, "vae.logvar");
    using decoded = await vae.decode(expected["vae.mean"]!);
    await close(decoded, "vae.decoded");
  });
});

describe("text to image, image to image, and refining", () =>
  replay("sdxl-img2img", { StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline }));
describe("InstructPix2Pix", () => replay("sdxl-ip2p", { StableDiffusionXLInstructPix2PixPipeline }));
describe("inpainting", () => replay("sdxl-inpaint", { StableDiffusionXLInpaintPipeline }));
describe("settings that come together rarely", () =>
  replay("sdxl-more", {
    StableDiffusionXLPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
  }));
describe("the scale of guidance as an input of the UNet", () =>
  replay("guidance-embedding", {
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    StableDiffusionXLImg2ImgPipeline,
  }));

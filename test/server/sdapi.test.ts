import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { RgbImage } from "../../lib/images/index.js";
import { createServer, type ImageServer } from "../../lib/server/index.js";

/** What runs are asked for, and one that ends only when it is told. */
let calls: Record<string, unknown>[];
let stuck = false;
const pipelineOf = (className: string) => ({
  className,
  run: async (options: Record<string, unknown>) => {
    calls.push(options);
    const {
      signal,
      onStep,
      numImagesPerPrompt: n,
    } = options as never as {
      signal: AbortSignal;
      onStep(progress: object): Promise<void>;
      numImagesPerPrompt: number;
    };
    await onStep({ step: 0, totalSteps: 4, latents: {} });
    if (stuck) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw new InstructPix2PixError("ERR_ABORTED", "aborted");
    }
    return { images: Array(n).fill(new RgbImage(8, 8, new Uint8Array(192))), seed: 5 };
  },
  dispose: () => {},
});

let server: ImageServer;
beforeAll(async () => {
  const models = { edit: pipelineOf("StableDiffusionInstructPix2PixPipeline") as never };
  server = await createServer({ models, logLevel: "silent", port: 0 });
});
afterAll(() => server.close());
beforeEach(() => {
  calls = [];
  stuck = false;
});

const headers = { host: "localhost" };
const get = async (url: string) => (await server.app.inject({ url: `/sdapi/v1/${url}`, headers })).json();
const post = (url: string, payload: object) =>
  server.app.inject({ method: "POST", url: `/sdapi/v1/${url}`, headers, payload });
const image = async () => (await new RgbImage(16, 16, new Uint8Array(768)).encode("png")).toString("base64");

/** As front ends send it. */
const usual = { styles: [], restore_faces: false, tiling: null, s_churn: 0, alwayson_scripts: {}, script_args: [] };

it("img2img gives the fields to the model, and its images back", async () => {
  const answer = await post("img2img", {
    ...{ ...usual, init_images: [await image()], prompt: "make it red", negative_prompt: "blue" },
    ...{ steps: 4, cfg_scale: 3, image_cfg_scale: 1.25, denoising_strength: 0.6, seed: 5, width: 8, height: 8 },
    ...{ batch_size: 2, n_iter: 2 },
  });
  expect(answer.statusCode).toBe(200);
  expect(calls).toHaveLength(1);
  expect(calls[0]).toMatchObject({
    ...{ prompt: "make it red", negativePrompt: "blue", numInferenceSteps: 4, numImagesPerPrompt: 4, seed: 5 },
    ...{ guidanceScale: 3, imageGuidanceScale: 1.25, image: expect.objectContaining({ width: 8, height: 8 }) },
  });
  // Models that take instructions have no strength.
  expect(calls[0]).not.toHaveProperty("strength");
  const { images, info } = answer.json();
  expect(images).toHaveLength(4);
  expect(Buffer.from(images[0], "base64").toString("latin1", 1, 4)).toBe("PNG");
  expect(JSON.parse(info)).toMatchObject({
    seed: 5,
    all_seeds: [5, 5, 5, 5],
    prompt: "make it red",
    sd_model_name: "edit",
  });
});

it.each<[string, object, RegExp]>([
  ["too many images", { batch_size: 3, n_iter: 2 }, /n_iter times batch_size/],
  ["more steps than allowed", { steps: 101 }, /steps must be <= 100/],
  ["scripts", { alwayson_scripts: { controlnet: {} } }, /alwayson_scripts/],
  ["a sampler that there is not", { sampler_name: "DPM fast" }, /sampler_name/],
  ["a field that there is not", { denoising_strenth: 1 }, /denoising_strenth/],
  ["inverted masks", { inpainting_mask_invert: 1 }, /inpainting_mask_invert/],
])("img2img refuses %s", async (_, fields, message) => {
  const answer = await post("img2img", { prompt: "p", init_images: [await image()], width: 8, height: 8, ...fields });
  expect({ status: answer.statusCode, body: answer.body }).toEqual({
    status: 400,
    body: expect.stringMatching(message),
  });
  expect(calls).toEqual([]);
});

it("txt2img asks for images from text, which this model cannot make", async () => {
  const answer = await post("txt2img", { prompt: "p" });
  expect(answer.statusCode).toBe(400);
  expect(answer.json().error.message).toMatch(/cannot make images from text/);
});

/** What webuiapi 0.9.17, the client most used in Python, sends for a call with nothing but a prompt and a seed. */
const OF_WEBUIAPI = {
  ...{ prompt: "a cat", styles: [], seed: 5, subseed: -1, subseed_strength: 0.0, seed_resize_from_h: 0 },
  ...{ seed_resize_from_w: 0, batch_size: 1, n_iter: 1, steps: 4, cfg_scale: 7.0, width: 16, height: 16 },
  ...{ restore_faces: false, tiling: false, do_not_save_samples: false, do_not_save_grid: false, negative_prompt: "" },
  ...{ eta: 1.0, s_churn: 0, s_tmax: 0, s_tmin: 0, s_noise: 1, override_settings: {}, sampler_name: "Euler a" },
  ...{ override_settings_restore_afterwards: true, scheduler: "automatic", sampler_index: "Euler a" },
  ...{ script_name: null, script_args: [], send_images: true, save_images: false, alwayson_scripts: {} },
};

it("takes what a client of Python sends", async () => {
  const images = {
    ...{ init_images: [await image()], resize_mode: 0, denoising_strength: 0.75, mask_blur: 4, inpainting_fill: 0 },
    ...{ inpaint_full_res: true, inpaint_full_res_padding: 0, inpainting_mask_invert: 0, include_init_images: false },
    ...{ initial_noise_multiplier: 1, image_cfg_scale: 1.5 },
  };
  // The pipeline of these tests has no other schedulers.
  const edited = await post("img2img", { ...OF_WEBUIAPI, ...images, sampler_name: undefined });
  expect({ status: edited.statusCode, body: edited.body }).toMatchObject({ status: 200 });
  const made = await post("txt2img", {
    ...{ ...OF_WEBUIAPI, enable_hr: false, hr_scale: 2, hr_upscaler: "Latent", hr_second_pass_steps: 0 },
    ...{ hr_resize_x: 0, hr_resize_y: 0, hr_checkpoint_name: null, hr_sampler_name: null, hr_scheduler: null },
    ...{ hr_prompt: "", hr_negative_prompt: "", denoising_strength: 0.7, firstphase_width: 0, firstphase_height: 0 },
  });
  // All fields are known: what is missing is a model for it.
  expect(made.json().error.message).toMatch(/cannot make images from text/);
});

it("progress tells how far a request is, and interrupt ends it", async () => {
  expect(await get("progress")).toMatchObject({ progress: 0, state: { job_count: 0 }, current_image: null });
  stuck = true;
  const answer = post("img2img", { prompt: "p", init_images: [await image()], width: 8, height: 8 });
  const ended = answer.then(({ statusCode, body }) => ({ statusCode, body }));
  for (let tries = 0; calls.length === 0 && tries < 1000; tries++) await delay(5);
  expect(await get("progress")).toMatchObject({
    ...{ progress: 0.25, state: { job_count: 1, sampling_step: 1, sampling_steps: 4 } },
  });
  expect((await post("interrupt", {})).json()).toEqual({});
  expect(await ended).toEqual({ statusCode: 409, body: expect.stringContaining("ERR_INTERRUPTED") });
  expect((await get("progress")).state.job_count).toBe(0);
});

it("lists models and samplers", async () => {
  expect(await get("sd-models")).toEqual([expect.objectContaining({ title: "edit", model_name: "edit" })]);
  const samplers = (await get("samplers")) as { name: string; aliases: string[] }[];
  expect(samplers).toContainEqual({ name: "Euler a", aliases: ["EulerAncestralDiscreteScheduler"], options: {} });
  expect(new Set(samplers.map(({ name }) => name)).size).toBe(samplers.length);
});

it("says what has no effect, refuses what asks for another image, and reads adapters out of prompts", async () => {
  const body = { ...usual, init_images: [await image()], prompt: "red", width: 8, height: 8, mask_blur: 4, eta: 0.5 };
  const answer = await post("img2img", body);
  expect(answer.statusCode).toBe(200);
  expect(JSON.parse(answer.json().info).without_effect).toEqual(
    expect.arrayContaining(["styles", "s_churn", "mask_blur", "eta"]),
  );
  for (const field of [
    { enable_hr: true },
    { tiling: true },
    { refiner_checkpoint: "xl" },
    { subseed_strength: 0.5 },
  ]) {
    const refused = await post("img2img", { ...body, ...field });
    expect(refused.statusCode).toBe(400);
    expect(refused.json().error.param).toBe(Object.keys(field)[0]);
  }
  const refused = await post("img2img", { ...body, prompt: "red <lora:absent:0.5>" });
  expect([refused.statusCode, refused.json().error.param]).toEqual([400, "loras"]);
});

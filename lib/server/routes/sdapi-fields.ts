import { SCHEDULER_NAMES } from "../../schedulers/registry.js";
import { HttpError } from "../errors.js";
import { type EditFields, editSchema, type Schema } from "../fields.js";
import type { ServerSettings } from "../options.js";

/** Samplers by their names there; those of ours that it does not have keep their own. */
const NAMED: Readonly<Record<string, string>> = {
  ...{ Euler: "EulerDiscreteScheduler", "Euler a": "EulerAncestralDiscreteScheduler", Heun: "HeunDiscreteScheduler" },
  ...{ DDIM: "DDIMScheduler", PLMS: "PNDMScheduler", LMS: "LMSDiscreteScheduler", LCM: "LCMScheduler" },
  ...{ "DPM++ 2M": "DPMSolverMultistepScheduler", UniPC: "UniPCMultistepScheduler", DDPM: "DDPMScheduler" },
};

/** Schedulers by the names of samplers. */
export const SAMPLERS: ReadonlyMap<string, string> = new Map([
  ...Object.entries(NAMED).filter(([, scheduler]) => (SCHEDULER_NAMES as readonly string[]).includes(scheduler)),
  ...SCHEDULER_NAMES.filter((scheduler) => !Object.values(NAMED).includes(scheduler)).map(
    (name) => [name, name] as const,
  ),
]);

/** Fields that ask for another image than the one that is made, and the values that do not. Others are refused. */
const ONLY_NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  ...{ enable_hr: [false], restore_faces: [false], tiling: [false], firstpass_image: ["", null] },
  ...{ refiner_checkpoint: ["", "None", null], script_name: ["", "None", null], subseed_strength: [0] },
  ...{ seed_resize_from_h: [-1, 0], seed_resize_from_w: [-1, 0], inpainting_mask_invert: [0, false] },
};

/** Fields whose values hardly change an image, or only how it is saved; an answer names those that were given. */
const WITHOUT_EFFECT = [
  ...[
    "styles",
    "do_not_save_samples",
    "do_not_save_grid",
    "send_images",
    "save_images",
    "script_args",
    "sampler_index",
  ],
  ...["s_churn", "s_tmax", "s_tmin", "s_noise", "s_min_uncond", "eta", "subseed", "scheduler", "include_init_images"],
  ...["resize_mode", "mask_blur", "mask_blur_x", "mask_blur_y", "inpainting_fill", "mask_round", "infotext"],
  ...["initial_noise_multiplier", "override_settings_restore_afterwards", "force_task_id", "disable_extra_networks"],
  ...["comments", "hr_scale", "hr_upscaler", "firstphase_width", "firstphase_height", "hr_second_pass_steps"],
  ...["hr_resize_x", "hr_resize_y", "hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_prompt"],
  ...["hr_negative_prompt", "refiner_switch_at"],
];

/** Fields without effect on images from text alone: there, this one is `enable_hr`'s. */
const OF_TEXT = ["denoising_strength"];

const namesWithoutEffect = (withPicture: boolean) => (withPicture ? WITHOUT_EFFECT : [...WITHOUT_EFFECT, ...OF_TEXT]);

/** The names of those among a request's fields. */
export function withoutEffect(body: object): string[] {
  const names = namesWithoutEffect("init_images" in body);
  return Object.keys(body).filter((name) => names.includes(name));
}

/** The fields of a request there that are computed, after validation. */
interface SdFields {
  prompt?: string;
  negative_prompt?: string;
  steps: number;
  cfg_scale?: number;
  image_cfg_scale?: number;
  denoising_strength?: number;
  seed: number;
  width: number;
  height: number;
  n_iter: number;
  batch_size: number;
  sampler_name?: string;
  init_images?: unknown;
  mask?: unknown;
  inpaint_full_res?: boolean;
  inpaint_full_res_padding?: number;
  alwayson_scripts?: object;
  override_settings?: { sd_model_checkpoint?: string };
}

/** The schema of a request there, whose limits are those of ours. */
export function sdSchema(settings: ServerSettings, withPicture: boolean): Schema {
  const ours = editSchema(settings).properties as Record<string, Schema>;
  const size = { type: "integer", minimum: 8, maximum: 65_536, default: 512 };
  const count = { type: "integer", minimum: 1, maximum: settings.maxImages, default: 1 };
  const without = namesWithoutEffect(withPicture);
  const anything = Object.fromEntries(without.map((name) => [name, { description: "without effect" }]));
  const neutral = Object.fromEntries(Object.entries(ONLY_NEUTRAL).map(([name, values]) => [name, { enum: values }]));
  return {
    type: "object",
    additionalProperties: false,
    properties: {
      prompt: { ...ours.prompt, minLength: 0, default: "" },
      negative_prompt: ours.negative_prompt,
      steps: { ...ours.num_inference_steps, default: Math.min(20, settings.maxSteps) },
      cfg_scale: ours.guidance_scale,
      seed: { type: "integer", minimum: -1, maximum: Number.MAX_SAFE_INTEGER, default: -1, description: "-1: any" },
      ...{ width: size, height: size, n_iter: count, batch_size: count },
      sampler_name: { enum: [...SAMPLERS.keys()], description: "see /sdapi/v1/samplers" },
      alwayson_scripts: { type: "object", maxProperties: 0, description: "there are none" },
      override_settings: {
        type: "object",
        properties: { sd_model_checkpoint: { ...ours.model, description: "the name of a model" } },
      },
      ...(withPicture && {
        init_images: { type: "array", minItems: 1, maxItems: 1, description: "one image, in base64 or as a data URL" },
        mask: { description: "white where it is painted anew" },
        inpaint_full_res: { type: "boolean", default: false, description: "paint the masked part in full size" },
        inpaint_full_res_padding: { type: "integer", minimum: 0, maximum: 10_000, default: 32 },
        image_cfg_scale: ours.image_guidance_scale,
        denoising_strength: { ...ours.strength, description: "without effect on models that take instructions" },
      }),
      ...anything,
      ...neutral,
    },
  };
}

/**
 * A request there as one of ours.
 *
 * @param instructedOf whether a model takes instructions
 */
export function fieldsOfSd(
  body: SdFields,
  { maxImages }: Pick<ServerSettings, "maxImages">,
  instructedOf: (model: string | undefined) => boolean,
): EditFields {
  const { n_iter, batch_size, width, height, seed, sampler_name, cfg_scale, image_cfg_scale, init_images } = body;
  const n = n_iter * batch_size;
  if (n > maxImages)
    throw new HttpError(400, "ERR_INVALID_ARGUMENT", `n_iter times batch_size must be <= ${maxImages}`, {
      param: "batch_size",
    });
  const model = body.override_settings?.sd_model_checkpoint;
  const instructed = instructedOf(model);
  const { prompt, loras } = promptOf(body.prompt ?? "");
  const given = {
    ...{ model, negative_prompt: body.negative_prompt || undefined, guidance_scale: cfg_scale, mask: body.mask },
    seed: seed === -1 ? undefined : seed,
    scheduler: sampler_name === undefined ? undefined : SAMPLERS.get(sampler_name),
    image: init_images,
    padding_mask_crop: body.inpaint_full_res && body.mask !== undefined ? body.inpaint_full_res_padding : undefined,
    loras: loras.length > 0 ? loras : undefined,
    image_guidance_scale: instructed ? image_cfg_scale : undefined,
    strength: instructed || init_images === undefined ? undefined : (body.denoising_strength ?? 0.75),
  };
  return {
    ...{ prompt, n, size: `${width}x${height}`, num_inference_steps: body.steps },
    ...{ response_format: "b64_json", output_format: "png", stream: false, partial_images: 0, progress: false },
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<EditFields>),
  };
}

/** A prompt there, whose `<lora:NAME:WEIGHT>` name adapters. */
function promptOf(text: string): { prompt: string; loras: { name: string; weight: number }[] } {
  const loras: { name: string; weight: number }[] = [];
  const prompt = text.replace(
    /<lora:([^:<>]{1,200})(?::(-?\d{1,3}(?:\.\d{1,6})?))?>/g,
    (_, name: string, weight = "1") => {
      loras.push({ name, weight: Number(weight) });
      return "";
    },
  );
  return { prompt: loras.length > 0 ? prompt.trim() : prompt, loras };
}

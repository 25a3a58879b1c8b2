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

/** What front ends always send, and what has no effect here. */
const WITHOUT_EFFECT = [
  ...["styles", "restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid", "send_images", "save_images"],
  ...[
    "s_churn",
    "s_tmax",
    "s_tmin",
    "s_noise",
    "s_min_uncond",
    "eta",
    "subseed",
    "subseed_strength",
    "seed_resize_from_h",
  ],
  ...[
    "seed_resize_from_w",
    "script_args",
    "script_name",
    "sampler_index",
    "scheduler",
    "include_init_images",
    "resize_mode",
  ],
  ...["mask_blur", "mask_blur_x", "mask_blur_y", "inpainting_fill", "inpaint_full_res", "inpaint_full_res_padding"],
  ...["mask_round", "initial_noise_multiplier", "override_settings_restore_afterwards", "force_task_id", "infotext"],
  ...[
    "disable_extra_networks",
    "comments",
    "firstpass_image",
    "enable_hr",
    "hr_scale",
    "hr_upscaler",
    "firstphase_width",
  ],
  ...[
    "firstphase_height",
    "hr_second_pass_steps",
    "hr_resize_x",
    "hr_resize_y",
    "refiner_checkpoint",
    "refiner_switch_at",
  ],
];

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
  inpainting_mask_invert?: boolean | number;
  alwayson_scripts?: object;
  override_settings?: { sd_model_checkpoint?: string };
}

/** The schema of a request there, whose limits are those of ours. */
export function sdSchema(settings: ServerSettings, withPicture: boolean): Schema {
  const ours = editSchema(settings).properties as Record<string, Schema>;
  const size = { type: "integer", minimum: 8, maximum: 65_536, default: 512 };
  const count = { type: "integer", minimum: 1, maximum: settings.maxImages, default: 1 };
  const anything = Object.fromEntries(WITHOUT_EFFECT.map((name) => [name, { description: "without effect" }]));
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
        inpainting_mask_invert: { enum: [0, false], description: "masks are not inverted" },
        image_cfg_scale: ours.image_guidance_scale,
        denoising_strength: { ...ours.strength, description: "without effect on models that take instructions" },
      }),
      ...anything,
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
  const given = {
    ...{ model, negative_prompt: body.negative_prompt || undefined, guidance_scale: cfg_scale, mask: body.mask },
    seed: seed === -1 ? undefined : seed,
    scheduler: sampler_name === undefined ? undefined : SAMPLERS.get(sampler_name),
    image: init_images,
    image_guidance_scale: instructed ? image_cfg_scale : undefined,
    strength: instructed || init_images === undefined ? undefined : (body.denoising_strength ?? 0.75),
  };
  return {
    ...{ prompt: body.prompt ?? "", n, size: `${width}x${height}`, num_inference_steps: body.steps },
    ...{ response_format: "b64_json", output_format: "png", stream: false, partial_images: 0, progress: false },
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<EditFields>),
  };
}

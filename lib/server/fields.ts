import { editOptions } from "../cli/edit/options.js";
import { generateOptions } from "../cli/generate/options.js";
import type { OptionDeclaration } from "../options/declaration.js";
import { SCHEDULER_NAMES } from "../schedulers/registry.js";
import type { ServerSettings } from "./options.js";

/** A schema as OpenAPI and fastify have it. */
export type Schema = Readonly<Record<string, unknown>>;

/** Characters of a prompt at most; the models read about 77 tokens. */
const MAX_PROMPT = 4000;
/** OpenAI's API has 3; a page shows more. */
const MAX_PREVIEWS = 20;
/** JSON's numbers are exact up to here. */
const MAX_SEED = Number.MAX_SAFE_INTEGER;

/** What clients may ask answers to be encoded as. */
export const OUTPUT_FORMATS = ["png", "jpeg", "webp"] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/** Fields that all requests for images have, after validation. */
export interface PictureFields {
  prompt: string;
  model?: string;
  n: number;
  size: string;
  response_format: "b64_json" | "url";
  output_format: OutputFormat;
  output_compression?: number;
  stream: boolean;
  partial_images: number;
  progress: boolean;
  negative_prompt?: string;
  num_inference_steps: number;
  guidance_scale?: number;
  scheduler?: string;
  seed?: number;
  /** As `lorasOf` takes them. */
  loras?: unknown;
}

/** Fields of a request that starts from an image. */
export interface EditFields extends PictureFields {
  image?: unknown;
  images?: unknown;
  mask?: unknown;
  image_guidance_scale?: number;
  strength?: number;
  padding_mask_crop?: number;
}

/** An option of the command line as a field: its type, its limits and its help. */
function fieldOf({ type, help, min, max, choices }: OptionDeclaration, limits: Schema = {}): Schema {
  const types: Partial<Record<OptionDeclaration["type"], string>> = { bigint: "integer" };
  return {
    type: types[type] ?? type,
    description: help,
    ...(min !== undefined && { minimum: min }),
    ...(typeof max === "number" && { maximum: max }),
    ...(choices && { enum: choices }),
    ...limits,
  };
}

const text = (description: string) => ({ type: "string", maxLength: 200, description });

/** Fields of OpenAI's API that say nothing to these models, with the values that ask for what is done anyway. */
const WITHOUT_EFFECT: Record<string, Schema> = {
  background: { enum: ["auto", "opaque"], description: "images are opaque" },
  quality: text("without effect; see num_inference_steps"),
  style: text("without effect"),
  moderation: text("without effect; a model's safety checker decides"),
  user: text("without effect"),
};

function pictureFields({ maxSteps, maxImages }: ServerSettings, steps: number): Record<string, Schema> {
  const { negative_prompt, num_inference_steps, guidance_scale, scheduler, seed } = generateOptions;
  return {
    prompt: { type: "string", minLength: 1, maxLength: MAX_PROMPT, description: "what the image shows" },
    model: { type: "string", maxLength: 500, description: "the name of a model; by default the first" },
    n: { type: "integer", minimum: 1, maximum: maxImages, default: 1, description: "images to make" },
    size: {
      type: "string",
      pattern: "^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$",
      default: "auto",
      description: "WIDTHxHEIGHT in pixels, or auto for what the model was trained for",
    },
    response_format: {
      enum: ["b64_json", "url"],
      default: "b64_json",
      description: "url is a data URL: nothing is stored",
    },
    output_format: { enum: OUTPUT_FORMATS, default: "png", description: "the format of the images" },
    output_compression: {
      ...{ type: "integer", minimum: 0, maximum: 100 },
      description: "quality of JPEG and WebP; PNG keeps every pixel",
    },
    stream: { type: "boolean", default: false, description: "answer with server-sent events" },
    partial_images: {
      ...{ type: "integer", minimum: 0, maximum: MAX_PREVIEWS, default: 0 },
      description: "previews of the first image in a stream",
    },
    progress: { type: "boolean", default: false, description: "events for each step in a stream" },
    negative_prompt: fieldOf(negative_prompt, { maxLength: MAX_PROMPT }),
    num_inference_steps: fieldOf(num_inference_steps, { maximum: maxSteps, default: Math.min(steps, maxSteps) }),
    guidance_scale: fieldOf(guidance_scale),
    scheduler: fieldOf(scheduler, { enum: SCHEDULER_NAMES }),
    seed: fieldOf(seed, { maximum: MAX_SEED }),
    loras: {
      description:
        "LoRA adapters of the server: a list of objects with name and, by default 1, weight; in a form its JSON; see /v1/loras",
    },
    ...WITHOUT_EFFECT,
  };
}

/** The schema of a request for images from text. */
export function generationSchema(settings: ServerSettings): Schema {
  const properties = pictureFields(settings, generateOptions.num_inference_steps.default);
  return { type: "object", required: ["prompt"], additionalProperties: false, properties };
}

/** The schema of a request that edits an image, in JSON or as fields of multipart/form-data. */
export function editSchema(settings: ServerSettings): Schema {
  const picture = (description: string) => ({ description });
  const properties = {
    // Bytes in a multipart body; in JSON http(s) URLs, data URLs, or base64. Not validated here: they may be large.
    image: picture("the image: a file of a multipart body; in JSON an http(s) URL, a data URL, or base64"),
    images: picture("in JSON, a list of one object whose image_url is the image's"),
    mask: picture("an image of the same shape: transparent, or without alpha white, where it is painted anew"),
    ...pictureFields(settings, editOptions.num_inference_steps.default),
    image_guidance_scale: fieldOf(editOptions.image_guidance_scale),
    strength: fieldOf(generateOptions.strength),
    padding_mask_crop: {
      ...{ type: "integer", minimum: 0, maximum: 10_000 },
      description: "paint the masked part in full size, with so many pixels around it; by default the whole image",
    },
    input_fidelity: text("without effect; see image_guidance_scale and strength"),
  };
  return { type: "object", required: ["prompt"], additionalProperties: false, properties };
}

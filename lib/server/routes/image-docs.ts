import { OUTPUT_FORMATS, type Schema } from "../fields.js";
import type { RouteDoc } from "../openapi.js";

/** Errors of every request for images. */
/** The statuses of a refused or failed request for images. */
export const IMAGE_ERRORS: readonly number[] = [404, 408, 413, 415, 422, 429, 503, 504];

const BASE64 = { type: "string", contentEncoding: "base64" } as const;

const IMAGES: Schema = {
  type: "object",
  properties: {
    created: { type: "integer", description: "seconds since 1970" },
    data: {
      type: "array",
      items: {
        type: "object",
        properties: { b64_json: BASE64, url: { type: "string" }, nsfw: { type: "boolean" } },
      },
    },
    size: { type: "string" },
    output_format: { enum: OUTPUT_FORMATS },
    model: { type: "string" },
    seed: { type: "integer", description: "of the noise" },
  },
};

const STREAM: Schema = {
  type: "string",
  description: "with stream: events named partial_image, progress and completed, after image_edit or image_generation",
};

const answer = { "application/json": IMAGES, "text/event-stream": STREAM };

/** The schema of a form: as in JSON, but images are files. */
function formOf(schema: Schema): Schema {
  const { image, mask, images: _, ...rest } = schema.properties as Record<string, Schema>;
  const file = { type: "string", format: "binary" };
  return { ...schema, properties: { image: { ...image, ...file }, mask: { ...mask, ...file }, ...rest } };
}

/** Media types of a request that edits an image. */
const editBody = (schema: Schema) => ({ "multipart/form-data": formOf(schema), "application/json": schema });

export function editsDoc(schema: Schema): RouteDoc {
  return { summary: "Edits an image", body: editBody(schema), answer, errors: IMAGE_ERRORS };
}

export function generationsDoc(schema: Schema): RouteDoc {
  return { summary: "Makes images from text", body: { "application/json": schema }, answer, errors: IMAGE_ERRORS };
}

export function plainEditDoc(schema: Schema): RouteDoc {
  const image = { type: "string", format: "binary" };
  const types = OUTPUT_FORMATS.map((format) => [`image/${format}`, image]);
  const summary = "Edits an image; the answer is the image itself, and x-seed the seed of its noise";
  return { summary, body: editBody(schema), answer: Object.fromEntries(types), errors: IMAGE_ERRORS };
}

import { InstructPix2PixError, loadImage } from "instruct-pix2pix";

/** Limit of a JSON body. Parsing a large one would block the event loop; send larger pictures as multipart or by URL. */
export const JSON_LIMIT = 2 * 1024 * 1024;

/**
 * The schema of a request, in JSON or as fields of multipart/form-data, with the names of the pipeline's options.
 *
 * @param {{ maxSteps: number }} limits
 */
export function editSchema({ maxSteps }) {
  const scale = { type: "number", minimum: 0, maximum: 100 };
  return {
    type: "object",
    required: ["image", "prompt"],
    additionalProperties: false,
    properties: {
      // Bytes in a multipart body; in JSON an http(s) URL, a data URL, or base64. Not validated here: it may be large.
      image: {},
      prompt: { type: "string", minLength: 1, maxLength: 1000 },
      negativePrompt: { type: "string", maxLength: 1000 },
      numInferenceSteps: { type: "integer", minimum: 1, maximum: maxSteps, default: Math.min(20, maxSteps) },
      guidanceScale: scale,
      imageGuidanceScale: scale,
      seed: { type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
      format: { enum: ["png", "jpeg", "webp"], default: "png" },
    },
  };
}

/**
 * @typedef {object} EditBody a body that matches the schema
 * @property {unknown} image
 * @property {string} prompt
 * @property {string} [negativePrompt]
 * @property {number} numInferenceSteps
 * @property {number} [guidanceScale]
 * @property {number} [imageGuidanceScale]
 * @property {number} [seed]
 * @property {"png" | "jpeg" | "webp"} format
 */

/**
 * Decodes the picture of a request. Fetches from public addresses only, and never reads a file of the server.
 *
 * @param {unknown} image
 * @param {{ maxBytes: number, maxPixels: number, timeout: number }} limits
 * @param {AbortSignal} signal
 */
export async function loadRequestImage(image, { maxBytes, maxPixels, timeout }, signal) {
  return loadImage(source(image), {
    allowFiles: false,
    allowPrivateAddresses: false,
    maxBytes,
    maxPixels,
    timeoutMs: Math.min(timeout, 30) * 1000,
    signal,
  });
}

/**
 * @param {unknown} image
 * @returns {URL | Buffer}
 */
function source(image) {
  if (Buffer.isBuffer(image)) return image;
  if (typeof image === "string") {
    if (/^https?:\/\//i.test(image) && URL.canParse(image)) return new URL(image);
    const base64 = image.replace(/^data:[\w.+/-]{0,100};base64,/i, "");
    if (/^[\w+/-]+={0,2}$/.test(base64)) return Buffer.from(base64, "base64");
  }
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    "image is a file of a multipart body, or in JSON an http(s) URL, a data URL in base64, or base64",
  );
}

import { InstructPix2PixError } from "../core/errors.js";
import { type LoadImageOptions, loadImage, RgbImage } from "../images/index.js";
import { loadStored } from "../images/load.js";
import { HttpError } from "./errors.js";
import { type EditFields, OUTPUT_FORMATS } from "./fields.js";
import type { ServerSettings } from "./options.js";

/** Limit of a JSON body. Parsing a large one would block the event loop; send larger images as multipart or by URL. */
export const JSON_LIMIT = 2 * 1024 * 1024;

/** The decoded images of a request. */
export interface RequestPictures {
  image: RgbImage;
  /** White where the image is painted anew. */
  mask: RgbImage | undefined;
}

/**
 * Decodes the images of a request. Fetches from public addresses only, and never reads a file of the server.
 *
 * @throws an `HttpError`, `ERR_IMAGE`, `ERR_DOWNLOAD`, `ERR_ABORTED`
 */
export async function loadRequestPictures(
  { image, images, mask }: Pick<EditFields, "image" | "images" | "mask">,
  { maxBytes, maxPixels, timeout }: Pick<ServerSettings, "maxBytes" | "maxPixels" | "timeout">,
  signal: AbortSignal,
): Promise<RequestPictures> {
  const given = [image, images].flat().filter((each) => each !== undefined);
  if (given.length !== 1)
    throw new HttpError(400, "ERR_INVALID_ARGUMENT", `give one image as image, not ${given.length}`, {
      param: "image",
    });
  const limits: LoadImageOptions = {
    ...{ allowFiles: false, allowPrivateAddresses: false, maxBytes, maxPixels },
    ...{ timeoutMs: Math.min(timeout, 30) * 1000, signal },
  };
  const [picture, maskSource] = [sourceOf("image", given[0]), mask === undefined ? undefined : sourceOf("mask", mask)];
  return {
    image: await loadImage(picture, limits),
    mask: maskSource === undefined ? undefined : await loadMask(maskSource, limits),
  };
}

/** Has what reads and writes images loaded now: with the first request it would block the event loop, and all others. */
export async function loadImageLibrary(): Promise<void> {
  const pixel = new RgbImage(1, 1, new Uint8Array(3));
  for (const format of OUTPUT_FORMATS) await loadImage(await pixel.encode(format));
}

/** A mask as pipelines take it; that of OpenAI's API is transparent where the image is painted anew. */
async function loadMask(source: URL | Buffer, limits: LoadImageOptions): Promise<RgbImage> {
  const stored = await loadStored(source, limits);
  const { width, height, alpha } = stored;
  if (!alpha) return new RgbImage(width, height, stored.data);
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < alpha.length; i++) data.fill(255 - alpha[i]!, 3 * i, 3 * i + 3);
  return new RgbImage(width, height, data);
}

/** What a field holds that stands for an image: nothing of the server's own. */
function sourceOf(param: string, given: unknown): URL | Buffer {
  const picture =
    typeof given === "object" && given !== null && "image_url" in given
      ? (given as { image_url: unknown }).image_url
      : given;
  if (Buffer.isBuffer(picture)) return picture;
  if (typeof picture === "string") {
    if (/^https?:\/\//i.test(picture) && URL.canParse(picture)) return new URL(picture);
    const base64 = picture.replace(/^data:[\w.+/-]{0,100};base64,/i, "");
    if (/^[\w+/-]+={0,2}$/.test(base64)) return Buffer.from(base64, "base64");
  }
  const problem = `${param} is a file of a multipart body, or in JSON an http(s) URL, a data URL in base64, or base64`;
  throw new HttpError(400, "ERR_INVALID_ARGUMENT", problem, { param });
}

/** WIDTHxHEIGHT, whose form the schema has checked; undefined for auto. */
export function sizeOf(
  text: string,
  { maxPixels }: Pick<ServerSettings, "maxPixels">,
): { width: number; height: number } | undefined {
  if (text === "auto") return undefined;
  const [width = 0, height = 0] = text.split("x").map(Number);
  if (width * height > maxPixels)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `size ${text} has ${width * height} pixels, more than the limit of ${maxPixels}`,
    );
  return { width, height };
}

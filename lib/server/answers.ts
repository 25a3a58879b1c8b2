import type { RgbImage } from "../images/index.js";
import type { ImagesResult } from "../pipelines/run-options.js";
import type { PictureFields } from "./fields.js";

/** An image as a client asked for it. */
export async function encodePicture(
  picture: Pick<RgbImage, "encode">,
  { output_format: format, output_compression: quality }: Pick<PictureFields, "output_format" | "output_compression">,
): Promise<Buffer> {
  // The encoders' least quality is 1; PNG has none.
  const options = format === "png" || quality === undefined ? {} : { quality: Math.max(1, quality) };
  return await picture.encode(format, options);
}

/** What every answer and event says of the request's images. */
export function describeFields({ size, output_format }: PictureFields) {
  return { size, quality: "auto", background: "opaque", output_format } as const;
}

export function unixTime(): number {
  return Math.floor(Date.now() / 1000);
}

/** The answer to a request that is no stream, in the form of OpenAI's API, with the seed beside it. */
export async function imagesAnswer({ images, seed, nsfw }: ImagesResult, fields: PictureFields, model: string) {
  const data: object[] = [];
  for (const [i, image] of images.entries()) {
    const base64 = (await encodePicture(image, fields)).toString("base64");
    const url = `data:image/${fields.output_format};base64,${base64}`;
    data.push({
      ...(fields.response_format === "url" ? { url } : { b64_json: base64 }),
      ...(nsfw && { nsfw: nsfw[i] }),
    });
  }
  return { created: unixTime(), data, ...describeFields(fields), model, seed: Number(seed) };
}

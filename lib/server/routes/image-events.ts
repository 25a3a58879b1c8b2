import type { RgbImage } from "../../images/index.js";
import type { ImagesResult } from "../../pipelines/run-options.js";
import { describeFields, encodePicture, unixTime } from "../answers.js";
import type { EventStream } from "../events.js";
import type { PictureFields } from "../fields.js";

type Kind = "image_edit" | "image_generation";

/** A preview in a stream of OpenAI's API. */
export async function previewEvent(kind: Kind, picture: RgbImage, index: number, fields: PictureFields) {
  return {
    type: `${kind}.partial_image`,
    ...(await eventOf(picture, fields)),
    partial_image_index: index,
  };
}

/** Sends the finished images, an event for each. */
export async function sendPictures(
  stream: EventStream,
  kind: Kind,
  { images, seed }: ImagesResult,
  fields: PictureFields,
): Promise<void> {
  for (const picture of images) {
    const type = `${kind}.completed`;
    await stream.send(type, { type, ...(await eventOf(picture, fields)), seed: Number(seed) });
  }
}

async function eventOf(picture: RgbImage, fields: PictureFields) {
  const base64 = (await encodePicture(picture, fields)).toString("base64");
  return { b64_json: base64, created_at: unixTime(), ...describeFields(fields) };
}

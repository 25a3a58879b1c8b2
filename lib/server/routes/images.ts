import type { FastifyInstance } from "fastify";
import { encodePicture, imagesAnswer } from "../answers.js";
import { describeError, reasonOf } from "../errors.js";
import { EventStream } from "../events.js";
import { editSchema, generationSchema, type Schema } from "../fields.js";
import type { RouteDoc } from "../openapi.js";
import { CLIENT_GONE } from "../request-life.js";
import type { Serving } from "../serving.js";
import { editsDoc, generationsDoc, plainEditDoc } from "./image-docs.js";
import { previewEvent, sendPictures } from "./image-events.js";
import { type Answer, addImageRoute } from "./image-request.js";

/** OpenAI's routes for images, and `/edit`, whose answer is the image itself. */
export function addImageRoutes(app: FastifyInstance, serving: Serving): void {
  const [edit, generation] = [editSchema(serving.settings), generationSchema(serving.settings)];
  const add = (url: string, doc: RouteDoc, schema: Schema, withPicture: boolean, answer: Answer) =>
    addImageRoute(app, serving, { url, doc, schema, withPicture, answer });
  add("/v1/images/edits", editsDoc(edit), edit, true, answerImages);
  add("/v1/images/generations", generationsDoc(generation), generation, false, answerImages);
  add("/edit", plainEditDoc(edit), edit, true, answerBytes);
}

const answerImages: Answer = async ({ fields, model, pictures, signal, compute }, reply) => {
  if (!fields.stream) return reply.send(await imagesAnswer(await compute(), fields, model.name));
  const kind = pictures ? "image_edit" : "image_generation";
  const stream = new EventStream(reply, signal);
  try {
    const type = `${kind}.progress`;
    const result = await compute({
      onPreview: async (picture, index) =>
        stream.send(`${kind}.partial_image`, await previewEvent(kind, picture, index, fields)),
      onProgress: fields.progress ? (progress) => stream.tell(type, { type, ...progress }) : undefined,
    });
    await sendPictures(stream, kind, result, fields);
  } catch (error) {
    if (!stream.begun) throw error;
    const described = describeError(reasonOf(error, signal), false);
    if (described.statusCode === 500) reply.log.error(error);
    if (described.statusCode !== CLIENT_GONE) await stream.send("error", described.body());
  }
  stream.end();
  return reply;
};

const answerBytes: Answer = async ({ fields, compute }, reply) => {
  const { images, seed } = await compute();
  const picture = await encodePicture(images[0]!, fields);
  return reply.type(`image/${fields.output_format}`).header("x-seed", String(seed)).send(picture);
};

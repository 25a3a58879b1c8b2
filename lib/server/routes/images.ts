import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ImagesResult } from "../../pipelines/run-options.js";
import { encodePicture, imagesAnswer } from "../answers.js";
import { describeError, reasonOf } from "../errors.js";
import { EventStream } from "../events.js";
import { type EditFields, editSchema, generationSchema, type Schema } from "../fields.js";
import type { ServedModel } from "../models.js";
import type { RouteDoc } from "../openapi.js";
import { JSON_LIMIT, loadRequestPictures, type RequestPictures, sizeOf } from "../pictures.js";
import { tidyBody } from "../request-body.js";
import { CLIENT_GONE } from "../request-life.js";
import { type RunWatcher, runRequest } from "../run.js";
import type { Serving } from "../serving.js";
import { editsDoc, generationsDoc, plainEditDoc } from "./image-docs.js";
import { previewEvent, sendPictures } from "./image-events.js";
import { type Progress, runProgress, waitProgress } from "./progress.js";

/** A request whose fields are valid, and which has its place. */
interface Prepared {
  fields: EditFields;
  model: ServedModel;
  pictures: RequestPictures | undefined;
  /** Fires when it is to end early. */
  signal: AbortSignal;
  /** Computes it when it is its turn. */
  compute(watch?: Watch): Promise<ImagesResult>;
}

/** What a stream tells while a request waits and is computed. */
interface Watch {
  onPreview?: RunWatcher["onPreview"];
  onProgress?: ((progress: Progress) => void) | undefined;
}

type Answer = (prepared: Prepared, reply: FastifyReply) => Promise<unknown>;

/** OpenAI's routes for images, and `/edit`, whose answer is the image itself. */
export function addImageRoutes(app: FastifyInstance, serving: Serving): void {
  const { settings } = serving;
  const add = (url: string, doc: RouteDoc, schema: Schema, withPicture: boolean, answer: Answer) =>
    app.post<{ Body: EditFields }>(url, {
      schema: { body: schema },
      config: { doc },
      bodyLimit: JSON_LIMIT,
      onRequest: async (request, reply) => {
        const client = serving.access.clientOf(request);
        const begun = performance.now();
        serving.lives.begin(request, reply, client, (status) =>
          logEnd(request, { status, client, milliseconds: Math.round(performance.now() - begun) }, settings.logPrompts),
        );
      },
      preValidation: async (request) => tidyBody(request, schema),
      preHandler: async (request) => serving.lives.received(request),
      handler: (request, reply) => handle(serving, request, reply, withPicture, answer),
    });
  const [edit, generation] = [editSchema(settings), generationSchema(settings)];
  add("/v1/images/edits", editsDoc(edit), edit, true, answerImages);
  add("/v1/images/generations", generationsDoc(generation), generation, false, answerImages);
  add("/edit", plainEditDoc(edit), edit, true, answerBytes);
}

async function handle(
  serving: Serving,
  request: FastifyRequest<{ Body: EditFields }>,
  reply: FastifyReply,
  withPicture: boolean,
  answer: Answer,
): Promise<unknown> {
  const signal = serving.lives.signalOf(request);
  // The client disconnected during validation of the body.
  if (!signal) return reply.hijack();
  const { settings, store, queue, metrics, reading } = serving;
  const fields = request.body;
  try {
    const model = store.get(fields.model);
    const size = sizeOf(fields.size, settings);
    let pictures: RequestPictures | undefined;
    if (withPicture) {
      reading.count++;
      pictures = await loadRequestPictures(fields, settings, signal).finally(() => reading.count--);
    }
    const compute: Prepared["compute"] = ({ onPreview, onProgress } = {}) => {
      const task = async () => {
        const stop = metrics.seconds.startTimer({ model: model.name });
        const onStep = runProgress(onProgress);
        const watcher = {
          ...{ signal, onPreview },
          onStep: (done: number, total: number) => {
            metrics.steps.inc();
            onStep(done, total);
          },
        };
        const result = await runRequest(model, { fields, pictures, size }, watcher);
        stop();
        return result;
      };
      const onPosition = (position: number) => onProgress?.(waitProgress(position, queue));
      return queue.run(task, signal, onPosition);
    };
    return await answer({ fields, model, pictures, signal, compute }, reply);
  } catch (error) {
    throw reasonOf(error, signal);
  }
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

/** One line for each request. Prompts are their writers' own: they are logged only if the server is told to. */
function logEnd(
  request: FastifyRequest<{ Body: EditFields }>,
  end: { status: number; client: string; milliseconds: number },
  withPrompt: boolean,
): void {
  // Undefined if the request was refused before its body arrived.
  const { model, n, num_inference_steps: steps, prompt, negative_prompt } = request.body ?? ({} as Partial<EditFields>);
  const asked = { model, n, steps, ...(withPrompt && { prompt, negative_prompt }) };
  request.log.info({ method: request.method, path: request.routeOptions.url, ...end, ...asked }, "request ended");
}

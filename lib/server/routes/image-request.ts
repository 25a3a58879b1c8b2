import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ImagesResult } from "../../pipelines/run-options.js";
import { lorasOf } from "../adapters.js";
import { compute, type Watch } from "../compute.js";
import { reasonOf } from "../errors.js";
import type { EditFields, Schema } from "../fields.js";
import type { ModelEntry } from "../model-store.js";
import type { RouteDoc } from "../openapi.js";
import { JSON_LIMIT, loadRequestPictures, type RequestPictures, sizeOf } from "../pictures.js";
import { tidyBody } from "../request-body.js";
import type { Serving } from "../serving.js";

/** A request whose fields are valid, and which has its place. */
export interface Prepared {
  fields: EditFields;
  model: ModelEntry;
  pictures: RequestPictures | undefined;
  /** Fires when it is to end early. */
  signal: AbortSignal;
  /** Computes it when it is its turn. */
  compute(watch?: Watch): Promise<ImagesResult>;
}

export type Answer = (prepared: Prepared, reply: FastifyReply, request: FastifyRequest) => Promise<unknown>;

/** A route whose requests are for images. */
export interface ImageRoute {
  url: string;
  doc: RouteDoc;
  /** Of the body. */
  schema: Schema;
  /** Whether it starts from an image. */
  withPicture: boolean;
  /** What a body asks for, unless its fields have the names of ours. */
  fieldsOf?(body: Record<string, unknown>): EditFields;
  answer: Answer;
}

/** Adds a route whose requests take a place, are validated, wait for their turn, and end with their connection. */
export function addImageRoute(app: FastifyInstance, serving: Serving, route: ImageRoute): void {
  const { settings } = serving;
  const { url, doc, schema, fieldsOf } = route;
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
    preHandler: async (request) => {
      serving.lives.received(request);
      if (fieldsOf) request.body = fieldsOf(request.body as never);
    },
    handler: (request, reply) => handle(serving, request, reply, route),
  });
}

async function handle(
  serving: Serving,
  request: FastifyRequest<{ Body: EditFields }>,
  reply: FastifyReply,
  { withPicture, answer }: ImageRoute,
): Promise<unknown> {
  const signal = serving.lives.signalOf(request);
  // The client disconnected during validation of the body.
  if (!signal) return reply.hijack();
  const { settings, store, reading } = serving;
  const fields = request.body;
  try {
    const model = store.get(fields.model);
    const size = sizeOf(fields.size, settings);
    const loras = lorasOf(fields.loras, serving.loras);
    let pictures: RequestPictures | undefined;
    if (withPicture) {
      reading.count++;
      pictures = await loadRequestPictures(fields, settings, signal).finally(() => reading.count--);
    }
    const computation = { model: model.name, fields, pictures, size, loras };
    const computeIt = (watch?: Watch) => compute(serving, computation, signal, watch);
    return await answer({ fields, model, pictures, signal, compute: computeIt }, reply, request);
  } catch (error) {
    throw reasonOf(error, signal);
  }
}

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

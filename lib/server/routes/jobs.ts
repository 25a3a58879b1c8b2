import type { FastifyInstance, FastifyRequest } from "fastify";
import { lorasOf } from "../adapters.js";
import { HttpError } from "../errors.js";
import { EventStream } from "../events.js";
import { type EditFields, editSchema, type Schema } from "../fields.js";
import { DATASET, datasetNames } from "../jobs/datasets.js";
import { isOver, type JobRecord } from "../jobs/job.js";
import type { Jobs } from "../jobs/jobs.js";
import { trainingFields } from "../jobs/training.js";
import type { JobEvent } from "../jobs/view.js";
import type { RouteDoc } from "../openapi.js";
import { JSON_LIMIT, loadRequestPictures, sizeOf } from "../pictures.js";
import { tidyBody } from "../request-body.js";
import type { Serving } from "../serving.js";

interface ById {
  Params: { id: string; step: string; index: string };
}
type Later = ById & { Querystring: { after?: number } };

/** The routes of jobs: work that a client need not wait for. */
export function addJobRoutes(app: FastifyInstance, serving: Serving, jobs: Jobs): void {
  const { access, settings, lives } = serving;
  const schema = jobSchema(editSchema(settings));
  app.post<{ Body: EditFields & { type: JobRecord["type"]; dataset?: string } }>("/v1/jobs", {
    schema: { body: schema },
    config: { doc: submitDoc(schema) },
    bodyLimit: JSON_LIMIT,
    onRequest: async (request, reply) => {
      lives.begin(request, reply, access.clientOf(request), () => {});
    },
    preValidation: async (request) => tidyBody(request, schema),
    preHandler: async (request) => lives.received(request),
    handler: async (request, reply) => {
      const signal = lives.signalOf(request);
      if (!signal) return reply.hijack();
      const client = access.clientOf(request);
      const { type, ...body } = request.body;
      const job = await jobs.submit({ type, client, ...(await prepared(serving, type, body, signal)) });
      return reply.code(202).header("location", `/v1/jobs/${job.id}`).send(job);
    },
  });

  const onRequest = access.requireKey;
  const options = (doc: RouteDoc) => ({ onRequest, config: { doc } });
  const client = (request: FastifyRequest) => access.clientOf(request);
  app.get("/v1/jobs", options(LIST), async (request) => ({ object: "list", data: jobs.list(client(request)) }));
  app.get("/v1/datasets", options(DATASETS), async () => ({
    object: "list",
    data: (await datasetNames(settings.trainDir)).map((id) => ({ id, object: "dataset" })),
  }));
  app.get<ById>("/v1/jobs/:id", options(ONE), async (request) => jobs.get(request.params.id, client(request)));
  app.post<ById>("/v1/jobs/:id/cancel", options(CANCEL), async (request) =>
    jobs.cancel(request.params.id, client(request)),
  );
  app.delete<ById>("/v1/jobs/:id", options(REMOVE), async (request) => {
    await jobs.remove(request.params.id, client(request));
    return { id: request.params.id, object: "job", deleted: true };
  });
  const after = { type: "integer", minimum: 0 };
  const querystring = { type: "object", additionalProperties: false, properties: { after } };
  app.get<Later>("/v1/jobs/:id/steps", { ...options(STEPS), schema: { querystring } }, async (request) => ({
    object: "list",
    data: jobs.steps(request.params.id, client(request), request.query.after ?? 0),
  }));
  app.get<Later>("/v1/jobs/:id/samples", { ...options(SAMPLES), schema: { querystring } }, async (request) => ({
    object: "list",
    data: jobs.samples(request.params.id, client(request), request.query.after ?? 0),
  }));
  app.get<ById>("/v1/jobs/:id/samples/:step/:index", options(SAMPLE), async (request, reply) => {
    const { id, step, index } = request.params;
    return reply.type("image/png").send(await jobs.sample(id, client(request), numberOf(step), numberOf(index)));
  });
  app.get<ById>("/v1/jobs/:id/results/:index", options(RESULT), async (request, reply) => {
    const { id, index } = request.params;
    const { name, bytes } = await jobs.result(id, client(request), numberOf(index));
    return reply.type(`image/${name.split(".").at(-1)}`).send(bytes);
  });
  app.get<ById>("/v1/jobs/:id/events", options(EVENTS), async (request, reply) => {
    const closed = new AbortController();
    reply.raw.once("close", () => closed.abort());
    const stream = new EventStream(reply, closed.signal);
    await new Promise<void>((resolve) => {
      const tell = (event: JobEvent) => {
        if (event.type === "job" && isOver(event.job)) void stream.send(event.type, event).then(resolve);
        else stream.tell(event.type, event);
      };
      const end = jobs.watch(request.params.id, client(request), tell);
      closed.signal.addEventListener("abort", () => resolve(), { once: true });
      serving.stopping.addEventListener("abort", () => resolve(), { once: true });
      void closed.signal.addEventListener("abort", end, { once: true });
    });
    stream.end();
    return reply;
  });
}

/** A number in a path. @throws a 404 */
function numberOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new HttpError(404, "ERR_NOT_FOUND", "there is nothing here");
}

/** What a job is made of: fields that are valid, and its images. */
async function prepared(
  serving: Serving,
  type: JobRecord["type"],
  body: EditFields & { dataset?: string; validation_prompt?: string },
  signal: AbortSignal,
) {
  const { settings, store, loras: known, reading } = serving;
  const pictures = async () => {
    reading.count++;
    return await loadRequestPictures(body, settings, signal).finally(() => reading.count--);
  };
  if (type === "train") {
    const names = ["model", "dataset", ...Object.keys(trainingFields())];
    const fields = Object.fromEntries(Object.entries(body).filter(([name]) => names.includes(name)));
    const refuse = (problem: string, param: string) => new HttpError(400, "ERR_INVALID_ARGUMENT", problem, { param });
    if (body.dataset === undefined) throw refuse("a training job needs dataset", "dataset");
    store.get(body.model);
    if (body.validation_prompt === undefined && body.image === undefined) return { fields };
    if (body.validation_prompt === undefined)
      throw refuse("samples of image need validation_prompt", "validation_prompt");
    if (body.mask !== undefined) throw refuse("samples are made without mask", "mask");
    return { fields, image: (await pictures()).image };
  }
  if (body.prompt === undefined)
    throw new HttpError(400, "ERR_INVALID_ARGUMENT", "a job for images needs prompt", { param: "prompt" });
  const { image: _image, images: _images, mask: _mask, dataset: _dataset, ...plain } = body;
  const computation = {
    model: store.get(body.model).name,
    size: sizeOf(body.size, settings),
    loras: lorasOf(body.loras, known),
  };
  const fields = { ...plain, computation };
  if (type === "generate") return { fields };
  return { fields, ...(await pictures()) };
}

function jobSchema(edit: Schema): Schema {
  const properties = {
    ...trainingFields(),
    ...(edit.properties as Record<string, Schema>),
    type: { enum: ["edit", "generate", "train"], description: "what the job does" },
    dataset: {
      ...{ type: "string", pattern: DATASET.source },
      description: "of a training job: the name of a folder in the server's --train_dir",
    },
  };
  return { type: "object", required: ["type"], additionalProperties: false, properties };
}

const JOB: Schema = {
  type: "object",
  properties: {
    id: { type: "string" },
    object: { const: "job" },
    type: { enum: ["edit", "generate", "train"] },
    state: { enum: ["queued", "running", "succeeded", "failed", "cancelled"] },
    position: { type: ["integer", "null"], description: "how many come before it" },
    step: { type: ["integer", "null"] },
    total_steps: { type: ["integer", "null"] },
    seconds_left: { type: ["number", "null"], description: "estimated from measured rates" },
    train_loss: { type: ["number", "null"] },
    sampled_step: { type: ["integer", "null"], description: "the last step after which training made samples" },
    attempts: { type: "integer", description: "how often it was begun" },
    results: { type: "array", items: { type: "string" }, description: "paths of its images" },
    model: { type: ["string", "null"], description: "of a training job: where its model is, below --jobs_dir" },
    error: { type: ["object", "null"] },
  },
};
const json = (schema: Schema) => ({ "application/json": schema });
const PARAMETERS = [{ name: "id", in: "path", required: true, schema: { type: "string" } }];
const list = (items: Schema) =>
  json({ type: "object", properties: { object: { const: "list" }, data: { type: "array", items } } });

function submitDoc(schema: Schema): RouteDoc {
  return {
    summary: "Begins a job, whose state is kept until long after its end",
    body: { ...json(schema), "multipart/form-data": schema },
    answer: json(JOB),
    status: 202,
    errors: [404, 408, 413, 415, 422, 429, 503, 504],
  };
}
const LIST: RouteDoc = { summary: "The client's jobs", answer: list(JOB) };
const DATASETS: RouteDoc = {
  summary: "The data sets that training jobs may name",
  answer: list({ type: "object", properties: { id: { type: "string" }, object: { const: "dataset" } } }),
};
const ONE: RouteDoc = { summary: "A job", parameters: PARAMETERS, answer: json(JOB), errors: [404] };
const CANCEL: RouteDoc = { summary: "Ends a job", parameters: PARAMETERS, answer: json(JOB), errors: [404] };
const REMOVE: RouteDoc = {
  summary: "Removes a job that is over, and its results",
  parameters: PARAMETERS,
  answer: json({ type: "object" }),
  errors: [404, 409],
};
const AFTER = { name: "after", in: "query", schema: { type: "integer", minimum: 0 } };
const INDEX = { name: "index", in: "path", required: true, schema: { type: "string" } };
const STEPS: RouteDoc = {
  summary: "The steps of a training job",
  parameters: [...PARAMETERS, AFTER],
  answer: list({
    type: "object",
    properties: { step: { type: "integer" }, train_loss: { type: ["number", "null"] } },
  }),
  errors: [404],
};
const SAMPLES: RouteDoc = {
  summary: "The samples of a training job: paths of images by step",
  parameters: [...PARAMETERS, AFTER],
  answer: list({
    type: "object",
    properties: { step: { type: "integer" }, images: { type: "array", items: { type: "string" } } },
  }),
  errors: [404],
};
const SAMPLE: RouteDoc = {
  summary: "An image that a training job made as a sample",
  parameters: [...PARAMETERS, { ...INDEX, name: "step" }, INDEX],
  answer: { "image/png": {} },
  errors: [404],
};
const RESULT: RouteDoc = {
  summary: "An image that a job made",
  parameters: [...PARAMETERS, INDEX],
  answer: { "image/png": {}, "image/jpeg": {}, "image/webp": {} },
  errors: [404],
};
const EVENTS: RouteDoc = {
  summary: "A job's state, progress and previews as server-sent events, until it is over",
  parameters: PARAMETERS,
  answer: { "text/event-stream": { type: "string" } },
  errors: [404],
};

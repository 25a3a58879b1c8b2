import type { FastifyInstance, FastifyRequest } from "fastify";
import { encodePicture } from "../answers.js";
import { HttpError } from "../errors.js";
import type { Schema } from "../fields.js";
import type { RouteDoc } from "../openapi.js";
import type { Serving } from "../serving.js";
import { IMAGE_ERRORS } from "./image-docs.js";
import { type Answer, addImageRoute } from "./image-request.js";
import type { Progress } from "./progress.js";
import { fieldsOfSd, SAMPLERS, sdSchema, withoutEffect } from "./sdapi-fields.js";

/** Previews of a run: there, clients ask for the latest one when they like. */
const PREVIEWS = 10;

/** A request under way, as its client asks about it. */
interface Job {
  progress: Progress | undefined;
  preview: string | undefined;
}

/**
 * The routes of AUTOMATIC1111's web UI that front ends use. There, one job runs at a time; here, a client is told of the
 * oldest of its own requests, and interrupts all of its own, none of others'.
 */
export function addSdRoutes(app: FastifyInstance, serving: Serving): void {
  const { access, settings, store, lives } = serving;
  /** In the order of their arrival, by client. */
  const jobs = new Map<string, Map<FastifyRequest, Job>>();

  const answer: Answer = async ({ fields, model, compute, pictures }, reply, request) => {
    const client = access.clientOf(request);
    const own = jobs.get(client) ?? new Map<FastifyRequest, Job>();
    const job: Job = { progress: undefined, preview: undefined };
    jobs.set(client, own.set(request, job));
    try {
      const { images, seed, nsfw } = await compute({
        onProgress: (progress) => {
          job.progress = progress;
        },
        onPreview: async (picture) => {
          job.preview = await base64(picture);
        },
      });
      const encoded = await Promise.all(images.map(base64));
      const { prompt, negative_prompt = "", num_inference_steps: steps } = fields;
      const info = {
        ...{ prompt, negative_prompt, seed: Number(seed), all_seeds: images.map(() => Number(seed)), steps },
        ...{ width: images[0]!.width, height: images[0]!.height, sd_model_name: model.name, nsfw },
        without_effect: (fields as { without_effect?: string[] }).without_effect,
      };
      const parameters = { prompt, negative_prompt, steps, seed: Number(seed), has_image: pictures !== undefined };
      return reply.send({ images: encoded, parameters, info: JSON.stringify(info) });
    } finally {
      own.delete(request);
      if (own.size === 0) jobs.delete(client);
    }
  };

  const instructedOf = (name: string | undefined) => store.get(name).about.instructed;
  const previewsOf = (name: string | undefined) => (store.get(name).about.size === null ? 0 : PREVIEWS);
  for (const [url, withPicture] of [
    ["/sdapi/v1/txt2img", false],
    ["/sdapi/v1/img2img", true],
  ] as const) {
    const schema = sdSchema(settings, withPicture);
    const fieldsOf = (body: object) => {
      const fields = fieldsOfSd(body as never, settings, instructedOf);
      return { ...fields, partial_images: previewsOf(fields.model), without_effect: withoutEffect(body) };
    };
    addImageRoute(app, serving, { url, schema, withPicture, fieldsOf, answer, doc: imagesDoc(schema, withPicture) });
  }

  const onRequest = access.requireKey;
  app.get("/sdapi/v1/progress", { onRequest, config: { doc: PROGRESS } }, async (request) => {
    const own = [...(jobs.get(access.clientOf(request))?.values() ?? [])];
    return describeJob(own[0], own.length);
  });
  app.post("/sdapi/v1/interrupt", { onRequest, config: { doc: INTERRUPT } }, async (request) => {
    const stopped = new HttpError(409, "ERR_INTERRUPTED", "the request was interrupted");
    for (const each of jobs.get(access.clientOf(request))?.keys() ?? []) lives.abort(each, stopped);
    return {};
  });
  app.get("/sdapi/v1/sd-models", { onRequest, config: { doc: MODELS } }, async () =>
    store.list.map(({ name }) => ({
      title: name,
      model_name: name,
      hash: null,
      sha256: null,
      filename: name,
      config: null,
    })),
  );
  app.get("/sdapi/v1/loras", { onRequest, config: { doc: LORA_LIST } }, async () =>
    serving.loras.map((name) => ({ name, alias: name, path: name, metadata: {} })),
  );
  app.get("/sdapi/v1/samplers", { onRequest, config: { doc: SAMPLER_LIST } }, async () =>
    [...SAMPLERS].map(([name, scheduler]) => ({ name, aliases: [scheduler], options: {} })),
  );
}

async function base64(picture: Parameters<typeof encodePicture>[0]): Promise<string> {
  return (await encodePicture(picture, { output_format: "png" })).toString("base64");
}

function describeJob(job: Job | undefined, count: number) {
  const { progress, preview = null } = job ?? {};
  const running = progress?.state === "running" ? progress : undefined;
  return {
    progress: running ? running.step / running.total_steps : 0,
    eta_relative: progress?.seconds_left ?? 0,
    state: {
      ...{ skipped: false, interrupted: false, job: job ? "images" : "", job_count: count, job_no: 0 },
      ...{ sampling_step: running?.step ?? 0, sampling_steps: running?.total_steps ?? 0 },
    },
    current_image: preview,
    textinfo: progress?.state === "waiting" ? `waiting, ${progress.position} before it` : null,
  };
}

const object = (properties: Record<string, Schema>): Schema => ({ type: "object", properties });
const json = (schema: Schema) => ({ "application/json": schema });
const TEXT: Schema = { type: "string" };

function imagesDoc(schema: Schema, withPicture: boolean): RouteDoc {
  return {
    summary: `As AUTOMATIC1111's ${withPicture ? "img2img" : "txt2img"}`,
    body: json(schema),
    answer: json(object({ images: { type: "array", items: TEXT }, parameters: { type: "object" }, info: TEXT })),
    errors: [...IMAGE_ERRORS, 409],
  };
}

const PROGRESS: RouteDoc = {
  summary: "As AUTOMATIC1111's progress: of the client's oldest request there",
  answer: json(object({ progress: { type: "number" }, eta_relative: { type: "number" }, state: { type: "object" } })),
};
const INTERRUPT: RouteDoc = {
  summary: "As AUTOMATIC1111's interrupt: ends the client's requests there",
  answer: json({ type: "object" }),
};
const MODELS: RouteDoc = {
  summary: "As AUTOMATIC1111's sd-models",
  answer: json({ type: "array", items: object({ title: TEXT, model_name: TEXT }) }),
};
const LORA_LIST: RouteDoc = {
  summary: "As AUTOMATIC1111's loras: those that prompts may name as <lora:NAME:WEIGHT>",
  answer: json({ type: "array", items: object({ name: TEXT, alias: TEXT }) }),
};
const SAMPLER_LIST: RouteDoc = {
  summary: "As AUTOMATIC1111's samplers",
  answer: json({ type: "array", items: object({ name: TEXT, aliases: { type: "array", items: TEXT } }) }),
};

import type { FastifyInstance } from "fastify";
import type { Schema } from "../fields.js";
import type { ModelEntry } from "../model-store.js";
import type { RouteDoc } from "../openapi.js";
import type { Serving } from "../serving.js";

/** OpenAI's list of models. */
export function addModelRoutes(app: FastifyInstance, { store, access, loras }: Serving): void {
  const onRequest = access.requireKey;
  app.get("/v1/models", { onRequest, config: { doc: LIST } }, async () => ({
    object: "list",
    data: store.list.map(describe),
  }));
  app.get("/v1/loras", { onRequest, config: { doc: LORAS } }, async () => ({
    object: "list",
    data: loras.map((id) => ({ id, object: "lora" })),
  }));
  // Names may hold slashes, as those of repositories do.
  app.get<{ Params: { "*": string } }>("/v1/models/*", { onRequest, config: { doc: ONE } }, async ({ params }) =>
    describe(store.get(params["*"])),
  );
}

function describe({ name, created, about, loaded }: ModelEntry) {
  return { id: name, object: "model", created, owned_by: "instruct-pix2pix", ...about, loaded };
}

const MODEL: Schema = {
  type: "object",
  properties: {
    id: { type: "string" },
    object: { const: "model" },
    created: { type: "integer", description: "seconds since 1970" },
    owned_by: { type: "string" },
    class_name: { type: "string", description: "of its pipeline, as in diffusers" },
    uses: { type: "array", items: { enum: ["edit", "inpaint", "generate"] }, description: "what it is for" },
    instructed: { type: "boolean", description: "whether prompts say what to change, with image_guidance_scale" },
    size: { type: ["string", "null"], description: "WIDTHxHEIGHT that it was trained for" },
    loaded: { type: "boolean", description: "whether its weights are in memory; others are loaded when needed" },
    built_in: {
      enum: ["photos", "world", null],
      description: "which of the small models of this package it is, by what it edits: /examples has images for it",
    },
    guidance_scale: {
      type: ["number", "null"],
      description: "what requests without one have, where the model has one of its own",
    },
  },
};

const LIST: RouteDoc = {
  summary: "The models",
  answer: {
    "application/json": {
      type: "object",
      properties: { object: { const: "list" }, data: { type: "array", items: MODEL } },
    },
  },
};

const LORAS: RouteDoc = {
  summary: "The LoRA adapters that requests may name in loras",
  answer: {
    "application/json": {
      type: "object",
      properties: {
        object: { const: "list" },
        data: {
          type: "array",
          items: { type: "object", properties: { id: { type: "string" }, object: { const: "lora" } } },
        },
      },
    },
  },
};

const ONE: RouteDoc = {
  summary: "A model by its name",
  parameters: [{ name: "name", in: "path", required: true, schema: { type: "string" } }],
  answer: { "application/json": MODEL },
  errors: [404],
};

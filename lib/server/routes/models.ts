import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ServedModel } from "../models.js";
import type { Serving } from "../serving.js";

/** OpenAI's list of models. */
export function addModelRoutes(app: FastifyInstance, { store, access }: Serving): void {
  const onRequest = async (request: FastifyRequest) => {
    access.clientOf(request);
  };
  app.get("/v1/models", { onRequest }, async () => ({ object: "list", data: store.list.map(describe) }));
  // Names may hold slashes, as those of repositories do.
  app.get<{ Params: { "*": string } }>("/v1/models/*", { onRequest }, async ({ params }) =>
    describe(store.get(params["*"])),
  );
}

function describe({ name, created }: ServedModel) {
  return { id: name, object: "model", created, owned_by: "instruct-pix2pix" };
}

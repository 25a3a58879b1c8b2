import type { FastifyInstance } from "fastify";
import type { RouteDoc } from "../openapi.js";
import type { Serving } from "../serving.js";

/** Health for load balancers and orchestrators, and metrics for Prometheus. */
export function addAdminRoutes(app: FastifyInstance, serving: Serving): void {
  app.get("/health/live", { config: { doc: healthDoc("Whether the server runs") } }, async () => ({ status: "ok" }));
  const ready = healthDoc("Whether it takes requests", [503]);
  app.get("/health/ready", { config: { doc: ready } }, async (_request, reply) => {
    if (serving.ready) return { status: "ok" };
    return reply.code(503).send({ status: "stopping" });
  });
  app.get("/metrics", {
    config: { doc: { summary: "Figures for Prometheus", answer: { "text/plain": { type: "string" } } } },
    onRequest: async (request) => serving.access.checkMetrics(request),
    handler: async (_request, reply) => {
      const { registry } = serving.metrics;
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  });
}

function healthDoc(summary: string, errors: readonly number[] = []): RouteDoc {
  const status = { type: "object", properties: { status: { type: "string" } } };
  return { summary, errors, open: true, answer: { "application/json": status } };
}

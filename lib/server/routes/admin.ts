import type { FastifyInstance } from "fastify";
import type { Serving } from "../serving.js";

/** Health for load balancers and orchestrators, and metrics for Prometheus. */
export function addAdminRoutes(app: FastifyInstance, serving: Serving): void {
  app.get("/health/live", async () => ({ status: "ok" }));
  app.get("/health/ready", async (_request, reply) => {
    if (serving.ready) return { status: "ok" };
    return reply.code(503).send({ status: "stopping" });
  });
  app.get("/metrics", {
    onRequest: async (request) => serving.access.checkMetrics(request),
    handler: async (_request, reply) => {
      const { registry } = serving.metrics;
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  });
}

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { BoundedQueue } from "./queue.js";

/** The server's figures for Prometheus. */
export interface Metrics {
  registry: Registry;
  responses: Counter<"status">;
  steps: Counter;
  seconds: Histogram<"model">;
  /** Requests that shared a pass through a UNet. */
  passes: Histogram;
  loads: Counter<"model">;
  /** Has the weights' memory told. */
  watchMemory(bytes: () => number): void;
}

/** Among them are those of the process: memory, CPU time, and the event loop's delay (`nodejs_eventloop_lag_p99_seconds`). */
export function createMetrics(queue: BoundedQueue): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 1 });
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(value());
      },
    });
  gauge(
    "ip2p_num_requests_inside",
    "Places that are taken: by requests, and by images still decoded for requests that have ended",
    () => queue.inside,
  );
  gauge("ip2p_num_requests_waiting", "Requests that wait for their turn", () => queue.waiting);
  gauge("ip2p_num_requests_running", "Requests that are computed", () => queue.running);
  return {
    registry,
    responses: new Counter({
      ...{ name: "ip2p_responses_total", help: "Requests for images by status", registers },
      labelNames: ["status"] as const,
    }),
    steps: new Counter({ name: "ip2p_denoising_steps_total", help: "Denoising steps computed", registers }),
    seconds: new Histogram({
      ...{ name: "ip2p_run_seconds", help: "Time of computing a request, without waiting", registers },
      labelNames: ["model"] as const,
      buckets: [0.1, 0.3, 1, 3, 10, 30, 100],
    }),
    passes: new Histogram({
      ...{ name: "ip2p_pass_requests", help: "Requests that share a pass through a UNet", registers },
      buckets: [1, 2, 4, 8, 16, 32],
    }),
    loads: new Counter({
      ...{ name: "ip2p_model_loads_total", help: "Models loaded", registers },
      labelNames: ["model"] as const,
    }),
    watchMemory: (bytes) => void gauge("ip2p_weights_bytes", "Bytes of the weights of loaded models", bytes),
  };
}

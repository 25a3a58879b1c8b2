import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/**
 * The metrics for Prometheus, including those of the process: memory, CPU time, and the event loop's
 * delay (`nodejs_eventloop_lag_p99_seconds`).
 *
 * @param {import("./queue.js").BoundedQueue} queue
 */
export function createMetrics(queue) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 1 });
  const registers = [registry];
  new Gauge({
    name: "edits_inside",
    help: "Places that are taken: by requests, and by pictures still decoded for requests that have ended",
    registers,
    collect() {
      this.set(queue.inside);
    },
  });
  new Gauge({
    name: "edits_waiting",
    help: "Requests that wait for their turn",
    registers,
    collect() {
      this.set(queue.waiting);
    },
  });
  new Gauge({
    name: "edits_running",
    help: "Edits that are computed",
    registers,
    collect() {
      this.set(queue.running);
    },
  });
  return {
    registry,
    answers: new Counter({ name: "edit_answers_total", help: "Requests by status", labelNames: ["status"], registers }),
    steps: new Counter({ name: "denoising_steps_total", help: "Denoising steps computed", registers }),
    seconds: new Histogram({
      name: "edit_seconds",
      help: "Time of computing an edit, without waiting",
      buckets: [0.1, 0.3, 1, 3, 10, 30, 100],
      registers,
    }),
  };
}

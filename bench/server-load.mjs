// Measures what a server tells clients that it has no place for:
//
//   node bench/server-load.mjs [--clients 1000] [--places 64] [--seconds 2] [--steps 4] [--output FILE]
//
// `ip2p serve` runs in a process of its own with the built-in model. All clients connect first; then each sends one edit, at
// a random moment within --seconds. One in ten of those that get a place leaves before its answer. Prints the times of
// refusals as the clients see them, the server's event loop delay, whether every client got an answer, and whether steps
// were computed for clients that had left while they waited.

import { readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ServerProcess } from "../test/examples/server-process.mjs";
import { commit, describeMachine, loadAverage } from "./machine.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "1000" },
    places: { type: "string", default: "64" },
    seconds: { type: "string", default: "2" },
    steps: { type: "string", default: "4" },
    output: { type: "string" },
  },
});
const [clients, places, seconds, steps] = ["clients", "places", "seconds", "steps"].map((name) => Number(values[name]));

const server = await ServerProcess.start({ places, places_per_client: places });
const { hostname, port } = new URL(server.url);
const picture = readFileSync(join(root, "test/fixtures/built-in/picture.png")).toString("base64");
const body = JSON.stringify({ prompt: "make it night", image: picture, num_inference_steps: steps });
const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };

/** Sends a request over a connection of its own, and resolves to its status; undefined if the client left. */
function ask(agent, path, { content, leaveAfter } = {}) {
  return new Promise((resolve, reject) => {
    const options = content ? { method: "POST", headers } : {};
    const sent = request({ host: hostname, port, path, agent, ...options }, (answer) => {
      answer
        .resume()
        .once("end", () => resolve(answer.statusCode))
        .once("error", () => resolve(undefined));
    });
    sent.once("error", (error) => (sent.destroyed && leaveAfter !== undefined ? resolve(undefined) : reject(error)));
    if (leaveAfter !== undefined)
      setTimeout(() => {
        sent.destroy(new Error("left"));
        resolve(undefined);
      }, leaveAfter).unref();
    sent.end(content);
  });
}

const agents = [];
for (let i = 0; i < clients; i++) agents.push(new Agent({ keepAlive: true, maxSockets: 1 }));
for (let i = 0; i < clients; i += 50)
  await Promise.all(agents.slice(i, i + 50).map((agent) => ask(agent, "/health/live")));
await server.metrics(); // the delay is counted from here

const refused = [];
const statuses = new Map();
const begun = performance.now();
await Promise.all(
  agents.map(async (agent, i) => {
    await delay(Math.random() * 1000 * seconds);
    const from = performance.now();
    const leaves = i % 10 === 0;
    const status = await ask(agent, "/edit", { content: body, ...(leaves && { leaveAfter: 500 }) }).catch(() => "lost");
    if (status === 429) refused.push(performance.now() - from);
    statuses.set(status ?? "left", (statuses.get(status ?? "left") ?? 0) + 1);
  }),
);
const all = (performance.now() - begun) / 1000;
const figures = await server.metrics();
await server.stop();
for (const agent of agents) agent.destroy();

refused.sort((a, b) => a - b);
const quantile = (q) => refused[Math.min(refused.length - 1, Math.floor(q * refused.length))] ?? null;
const served = statuses.get(200) ?? 0;
const computed = figures.get("ip2p_denoising_steps_total");
const result = {
  what: `${clients} clients within ${seconds} s at ${places} places`,
  settings: values,
  machine: describeMachine(),
  commit: commit(root),
  loadAverage: loadAverage(),
  answers: Object.fromEntries(statuses),
  refusalMilliseconds: { p50: quantile(0.5), p99: quantile(0.99), most: refused.at(-1) ?? null },
  eventLoopMilliseconds: { p99: 1000 * figures.get("nodejs_eventloop_lag_p99_seconds") },
  steps: { computed, ofAnswers: served * steps, forThoseWhoLeft: computed - served * steps },
  seconds: all,
};
console.log(JSON.stringify(result, null, 2));
if (values.output) writeFileSync(values.output, `${JSON.stringify(result, null, 2)}\n`);

// Measures what a server tells clients that it has no place for:
//
//   node bench/server-load.mjs [--clients 1000] [--places 64] [--seconds 2] [--steps 4] [--threads N] [--nice 5] [--output FILE]
//
// `ip2p serve` runs in a process of its own with the built-in model. All clients connect first, and each sends one edit, at a
// random moment within --seconds. This is done twice: the first time both programs are still being compiled by their engines, and
// the second time is counted. One in ten of those that get a place leaves before its answer. Prints the times of
// refusals as the clients see them, the server's event loop delay, whether every client got an answer, and whether steps
// were computed for clients that had left while they waited.

import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { availableParallelism } from "node:os";
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
    threads: { type: "string", default: String(availableParallelism()) },
    nice: { type: "string", default: "5" },
    output: { type: "string" },
  },
});
const [clients, places, seconds, steps] = ["clients", "places", "seconds", "steps"].map((name) => Number(values[name]));

const server = await ServerProcess.start(
  { places, places_per_client: places, nice: values.nice },
  { OMP_NUM_THREADS: values.threads },
);
const { hostname, port } = new URL(server.url);
const picture = readFileSync(join(root, "test/fixtures/built-in/picture.png")).toString("base64");
const body = JSON.stringify({ prompt: "make it night", image: picture, num_inference_steps: steps });

/**
 * A client with a connection of its own. It writes and reads HTTP by itself: 1,000 clients of node:http in one process would
 * need more of the processor than the server does to refuse them.
 */
class Client {
  #socket;
  #received = "";
  #settle;

  static async connect() {
    const client = new Client();
    client.#socket = connect({ host: hostname, port, noDelay: true });
    client.#socket.setEncoding("latin1").on("data", (text) => client.#read(text));
    client.#socket.on("error", () => client.#settle?.("lost")).on("close", () => client.#settle?.("lost"));
    await once(client.#socket, "connect");
    return client;
  }

  /** Sends a request. → its status; "left" if the client left before the answer, "lost" if the connection ended */
  ask(text, leaveAfter) {
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#socket.write(text);
      if (leaveAfter === undefined) return;
      setTimeout(() => {
        // An answer that has come already stays.
        if (this.#settle !== resolve) return;
        resolve("left");
        this.#socket.destroy();
      }, leaveAfter).unref();
    });
  }

  #read(text) {
    this.#received += text;
    const end = this.#received.indexOf("\r\n\r\n");
    if (end === -1) return;
    const [, status] = /^HTTP\/1\.1 (\d+) /.exec(this.#received);
    const [, length] = /\r\ncontent-length: (\d+)\r\n/i.exec(this.#received);
    if (this.#received.length < end + 4 + Number(length)) return;
    this.#received = "";
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(Number(status));
  }

  close() {
    this.#socket.destroy();
  }
}

const head = (line) => `${line} HTTP/1.1\r\nhost: ${hostname}:${port}\r\n`;
const edit = `${head("POST /edit")}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const health = `${head("GET /health/live")}\r\n`;

/** What the server counts. The delays of its event loop are those since they were read last. */
async function figures() {
  const all = await server.metrics();
  return {
    loopDelay: all.get("nodejs_eventloop_lag_p99_seconds"),
    inside: all.get("ip2p_num_requests_inside"),
    steps: all.get("ip2p_denoising_steps_total"),
  };
}

/** Each client sends one edit. → the status of each answer and the milliseconds after which it came, and the server's figures */
async function wave() {
  const all = [];
  for (let i = 0; i < clients; i++) all.push(await Client.connect());
  for (const client of all) await client.ask(health);
  await figures();
  const answers = await Promise.all(
    all.map(async (client, i) => {
      await delay(Math.random() * 1000 * seconds);
      const from = performance.now();
      const status = await client.ask(edit, i % 10 === 0 ? 500 : undefined);
      return { status, milliseconds: performance.now() - from };
    }),
  );
  const { loopDelay } = await figures();
  for (const client of all) client.close();
  // Requests whose clients left end a little later.
  while ((await figures()).inside > 0) await delay(20);
  return { answers, loopDelay, steps: (await figures()).steps };
}

const { steps: before } = await wave();
const begun = performance.now();
const { answers, loopDelay, steps: after } = await wave();
const all = (performance.now() - begun) / 1000;
await server.stop();

const statuses = new Map();
for (const { status } of answers) statuses.set(status, (statuses.get(status) ?? 0) + 1);
const refused = answers
  .filter(({ status }) => status === 429)
  .map(({ milliseconds }) => milliseconds)
  .sort((a, b) => a - b);
const quantile = (q) => refused[Math.min(refused.length - 1, Math.floor(q * refused.length))] ?? null;
const served = statuses.get(200) ?? 0;
const computed = after - before;
const result = {
  what: `${clients} clients within ${seconds} s at ${places} places`,
  settings: values,
  machine: describeMachine(),
  commit: commit(root),
  loadAverage: loadAverage(),
  answers: Object.fromEntries(statuses),
  refusalMilliseconds: { p50: quantile(0.5), p99: quantile(0.99), most: refused.at(-1) ?? null },
  eventLoopMilliseconds: { p99: 1000 * loopDelay },
  steps: { computed, ofAnswers: served * steps, forThoseWhoLeft: computed - served * steps },
  seconds: all,
};
console.log(JSON.stringify(result, null, 2));
if (values.output) writeFileSync(values.output, `${JSON.stringify(result, null, 2)}\n`);

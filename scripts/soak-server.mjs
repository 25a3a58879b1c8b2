// Sends `ip2p serve` many requests and checks that its memory stays flat:
//
//   node scripts/soak-server.mjs [--requests 10000] [--clients 16] [--most 16] [--slope 1] [--leak] [--output FILE]
//
// Edits of a tiny image by the built-in model, by form and by JSON, among them clients that disconnect midway, bodies
// that are not images, and unknown options. A tenth of the requests is a warm-up. Of the rest the highest
// resident memory in the second half is compared with the highest in the first, and a line is laid through all samples:
// exits with 1 if it is --most MiB higher, if the line rises by --slope MB per 1,000 requests, or if any response is not the
// expected one.
//
// --leak starts the server with a leak of 256 KiB for each edit. It must fail, which shows that this program detects a leak.

import { writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { commit, describeMachine, loadAverage } from "../bench/machine.mjs";
import { ServerProcess } from "../test/examples/server-process.mjs";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "10000" },
    clients: { type: "string", default: "16" },
    most: { type: "string", default: "16" },
    slope: { type: "string", default: "1" },
    leak: { type: "boolean", default: false },
    output: { type: "string" },
  },
});
const [requests, clients, most, steepest] = [values.requests, values.clients, values.most, values.slope].map(Number);
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const MEBIBYTE = 2 ** 20;
const mebibytes = (bytes) => `${(bytes / MEBIBYTE).toFixed(1)} MiB`;

const leak =
  "data:text/javascript,import http from 'node:http'; const kept = []; const { end } = http.ServerResponse.prototype; http.ServerResponse.prototype.end = function (...all) { kept.push(Buffer.alloc(262144, 1)); return end.apply(this, all); };";
if (values.leak) process.env.NODE_OPTIONS = `--import "${leak}"`;
const server = await ServerProcess.start({ places: clients, places_per_client: clients });

const picture = await sharp({ create: { width: 16, height: 16, channels: 3, background: "teal" } })
  .png()
  .toBuffer();
const prompt = "let night fall";
const asJson = (fields) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify(fields) });
function asForm(fields, image = picture) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.set(name, String(value));
  body.set("image", new Blob([image]), "picture.png");
  return { body };
}

/** Kinds of requests, in rotation: what is sent, and the expected status; undefined: the client does not wait for it. */
const KINDS = [
  ...Array(5).fill((seed) => [asForm({ prompt, seed, num_inference_steps: 2 }), 200]),
  (seed) => [asJson({ prompt, seed, num_inference_steps: 2, image: picture.toString("base64") }), 200],
  (seed) => [asForm({ prompt, seed, num_inference_steps: 1, output_format: "webp" }), 200],
  () => [asForm({ prompt, num_inference_steps: 100 }), undefined],
  () => [asForm({ prompt }, Buffer.from("no image")), 422],
  () => [asJson({ prompt, image: "aGVsbG8=", step: 1 }), 400],
];

/** The slope of the line through the samples with the least squares, in bytes for each request. */
function slopeOf(all) {
  const mean = (list) => list.reduce((sum, x) => sum + x, 0) / list.length;
  const [x, y] = [mean(all.map(({ i }) => i)), mean(all.map(({ resident }) => resident))];
  const products = all.map(({ i, resident }) => (i - x) * (resident - y));
  return mean(products) / mean(all.map(({ i }) => (i - x) ** 2));
}

async function sample() {
  const figures = await server.metrics();
  return {
    resident: figures.get("process_resident_memory_bytes"),
    p99: figures.get("nodejs_eventloop_lag_p99_seconds") * 1000,
  };
}

const wrong = new Map();
const samples = [];
let sent = 0;

async function client() {
  while (sent < requests) {
    const i = sent++;
    const [request, status] = KINDS[i % KINDS.length](i);
    const signal = status === undefined ? AbortSignal.timeout(20 + (i % 50)) : undefined;
    const outcome = await fetch(`${server.url}/edit`, { method: "POST", ...request, signal }).then(
      async (answer) => {
        await answer.arrayBuffer();
        return answer.status;
      },
      () => undefined,
    );
    // A disconnected client may already have been rejected or served.
    if (outcome !== status && status !== undefined) {
      // A place is freed a moment after its client has disconnected.
      if (outcome === 429) await delay(10);
      else wrong.set(`${outcome} instead of ${status}`, (wrong.get(`${outcome} instead of ${status}`) ?? 0) + 1);
    }
    if (i >= requests / 10 && i % Math.ceil(requests / 200) === 0) samples.push({ i, ...(await sample()) });
    if (i % 1000 === 999) console.log(`${i + 1} requests: ${mebibytes(samples.at(-1)?.resident ?? 0)} resident`);
  }
}

const begun = performance.now();
try {
  await Promise.all(Array.from({ length: clients }, client));
  samples.sort((a, b) => a.i - b.i);
  const middle = Math.floor(samples.length / 2);
  const highest = (part) => Math.max(...part.map(({ resident }) => resident));
  const [first, second] = [highest(samples.slice(0, middle)), highest(samples.slice(middle))];
  const slope = (1000 * slopeOf(samples)) / 1e6;
  const flat = second - first < most * MEBIBYTE && slope < steepest;
  const seconds = (performance.now() - begun) / 1000;
  const delays = samples.map(({ p99 }) => p99).sort((a, b) => a - b);
  const edits = await server.metric('ip2p_responses_total{status="200"}');
  const gone = await server.metric('ip2p_responses_total{status="499"}');
  console.log(
    `${requests} requests in ${seconds.toFixed(0)} s, ${edits} edits, ${gone} disconnected clients: resident memory ` +
      `${mebibytes(first)} at most in the first half, ${mebibytes(second)} in the second, ${slope.toFixed(3)} MB per 1,000 requests: ${flat ? "flat" : "NOT FLAT"}; ` +
      `event loop p99 between two samples ${delays[middle].toFixed(1)} ms (median), ${delays.at(-1).toFixed(1)} ms (highest)`,
  );
  for (const [what, count] of wrong) console.log(`${what}: ${count} times`);
  process.exitCode = flat && wrong.size === 0 ? 0 : 1;
  const result = {
    what: "ip2p serve with the built-in model over many requests of all kinds",
    settings: values,
    machine: describeMachine(),
    commit: commit(root),
    loadAverage: loadAverage(),
    seconds,
    edits,
    disconnected: gone,
    unexpected: Object.fromEntries(wrong),
    residentBytes: { firstHalf: first, secondHalf: second },
    megabytesPer1000Requests: slope,
    flat,
    eventLoopMilliseconds: { medianOfP99: delays[middle], highestP99: delays.at(-1) },
  };
  if (values.output) writeFileSync(values.output, `${JSON.stringify(result, null, 2)}\n`);
} finally {
  await server.stop();
}

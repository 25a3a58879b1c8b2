// How training by data parallelism scales to many GPUs, on paper: what is exchanged in a step, how long that takes over
// NVLink, InfiniBand and Ethernet, and how much of it the backward pass hides. Nothing is measured.
//
//   node scripts/simulate-scaling.mjs [--json]
//
// The model: an all-reduce first among the GPUs of a host and then among hosts, each GPU's share over its part of the
// host's network. It moves as little as is possible (Patarasu & Yuan 2009, "Bandwidth optimal all-reduce algorithms"), in
// trees, so that the time of messages grows with the logarithm of their number (Sanders, Speck & Träff 2009, "Two-tree
// algorithms for full bandwidth broadcast, reduction and scan", as in NCCL). Buckets have 25 MiB, of which all but the last
// are exchanged while backward goes on.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** The UNets: parameters, and operations of a forward pass on one image of the usual size (multiply and add count 2). */
export const MODELS = {
  "SD 1.5, 256²": { parameters: 0.86e9, forward: 0.2e12 },
  "SDXL, 1024²": { parameters: 2.57e9, forward: 6.0e12 },
};
/** bfloat16 matrix operations per second of one H100 (989e12 at most), of which a UNet reaches about this share. */
const COMPUTE = { peak: 989e12, reached: 0.35 };
const GPUS_PER_HOST = 8;
/** Bytes per second in one direction, and seconds per message. */
export const LINKS = {
  // Among the GPUs of a host.
  NVLink: { rate: 450e9, latency: 5e-6 },
  // Of a whole host.
  "InfiniBand 8 × 400 Gb/s": { rate: 400e9, latency: 10e-6 },
  "Ethernet 100 Gb/s": { rate: 12.5e9, latency: 50e-6 },
  "Ethernet 25 Gb/s": { rate: 3.1e9, latency: 50e-6 },
};
const BUCKET = 25 * 2 ** 20;
/** The part of a link's rate that an exchange reaches. */
const REACHED = 0.8;

/** Seconds of an all-reduce of `bytes` among `count`, each over its own `rate`. */
function among(count, bytes, { rate, latency }) {
  if (count < 2) return 0;
  return ((2 * (count - 1)) / count) * (bytes / (rate * REACHED)) + 2 * Math.ceil(Math.log2(count)) * latency;
}

/** Seconds of one all-reduce: inside each host, and of each GPU's share among the hosts. */
export function allReduce(bytes, gpus, network) {
  const local = Math.min(gpus, GPUS_PER_HOST);
  const hosts = Math.ceil(gpus / GPUS_PER_HOST);
  const perGpu = { rate: network.rate / GPUS_PER_HOST, latency: network.latency };
  return among(local, bytes, LINKS.NVLink) + among(hosts, bytes / local, perGpu);
}

/**
 * A step of every GPU on `batch` images.
 *
 * @param bytesPerGradient 4 for float32, 2 with `--reduce_dtype bf16`
 * @returns seconds of computing and of exchanging, those that are not hidden, and the share of time spent computing
 */
export function step(model, gpus, network, { batch, bytesPerGradient }) {
  const bytes = model.parameters * bytesPerGradient;
  // Backward is twice as much as forward, and the frozen models and the optimizer about a tenth of the step.
  const forward = (model.forward * batch) / (COMPUTE.peak * COMPUTE.reached);
  const compute = forward * 3 * 1.1;
  const backward = forward * 2;
  const buckets = Math.ceil(bytes / BUCKET);
  const perBucket = allReduce(bytes / buckets, gpus, network);
  const exchange = perBucket * buckets;
  // Buckets become ready evenly over the backward pass; the last one cannot be hidden.
  const hidden = Math.min(exchange - perBucket, backward * (1 - 1 / buckets));
  const exposed = exchange - hidden;
  return { bytes, compute, exchange, exposed, efficiency: compute / (compute + exposed) };
}

/** The rows of the documentation's table. */
export function table() {
  const rows = [
    "| model | GPUs | network between hosts | type | moved per GPU and step | computing | exchanging | not hidden | efficiency |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
  ];
  const ms = (seconds) => `${(seconds * 1000).toFixed(0)} ms`;
  for (const [name, model] of Object.entries(MODELS))
    for (const gpus of [64, 1000])
      for (const link of Object.keys(LINKS).slice(1))
        for (const [type, bytesPerGradient] of [
          ["fp32", 4],
          ["bf16", 2],
        ]) {
          const { bytes, compute, exchange, exposed, efficiency } = step(model, gpus, LINKS[link], {
            batch: name.startsWith("SDXL") ? 4 : 32,
            bytesPerGradient,
          });
          const moved = `${((2 * bytes * (gpus - 1)) / gpus / 1e9).toFixed(1)} GB`;
          rows.push(
            `| ${name} | ${gpus} | ${link} | ${type} | ${moved} | ${ms(compute)} | ${ms(exchange)} | ${ms(exposed)} | ${Math.round(efficiency * 100)} % |`,
          );
        }
  return rows;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } });
  console.log(values.json ? JSON.stringify(table()) : table().join("\n"));
}

// Measures the largest memory of the ×4 upscaler with random weights, one denoising step in a process of its own each time:
//
//   node bench/upscale-memory.mjs [--size 192] [--dtype float32] [--ways plain,vae_tiling,tile] [--side ours|diffusers]
//                                 [--images 1] [--threads N] [--output FILE]
//
// plain; vae_slicing, for several images; vae_tiling; tile, which diffusers does not have; attention_slicing, which only it has.
// diffusers runs in the Python that IP2P_BENCH_PYTHON names. Lines are printed and added to FILE.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { model as kind } from "./cases/upscale-x4.mjs";
import { OURS } from "./comparison.mjs";
import { commit, describeMachine, loadAverage } from "./machine.mjs";
import { randomModel } from "./model.mjs";
import { drawPicture } from "./picture.mjs";
import { findPython } from "./python.mjs";
import { Side } from "./side.mjs";
import { GIB } from "./stats.mjs";

const WAYS = { ours: ["plain", "vae_slicing", "vae_tiling", "tile"] };
WAYS.diffusers = ["plain", "vae_slicing", "vae_tiling", "attention_slicing"];

const { values } = parseArgs({
  options: {
    size: { type: "string", default: "192" },
    dtype: { type: "string", default: "float32" },
    ways: { type: "string", default: "plain,vae_tiling,tile" },
    side: { type: "string", default: "ours" },
    images: { type: "string", default: "1" },
    threads: { type: "string", default: String(availableParallelism()) },
    output: { type: "string" },
  },
});
const { side: which, dtype } = values;
const ways = values.ways.split(",");
for (const way of ways)
  if (!WAYS[which]?.includes(way)) throw new Error(`--ways of ${which} must be of ${WAYS[which]}, not ${way}`);
const [size, images, threads] = [values.size, values.images, values.threads].map(Number);

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const python = which === "ours" ? undefined : findPython();
if (python?.missing) throw new Error(python.missing);

/** Makes one image in one step in a new process. */
async function measure(way, folder) {
  const env = { ...process.env, OMP_NUM_THREADS: String(threads), HF_HUB_OFFLINE: "1" };
  const peer = way === "attention_slicing" ? way : "eager";
  const side = python
    ? new Side("diffusers", python.path, [here("reference.py"), peer], env, dtype)
    : new Side(OURS, process.execPath, [here("ours.mjs"), "none"], env, dtype);
  const before = loadAverage();
  try {
    const { versions } = await side.ask({ command: "versions", threads, device: "cpu" });
    const pipeline = "StableDiffusionUpscalePipeline";
    const parts = { vaeSlicing: way === "vae_slicing", vaeTiling: way === "vae_tiling" };
    await side.ask({ command: "load", model: randomModel(console.error, kind), dtype, pipeline, ...parts });
    const { peak: loaded } = await side.ask({ command: "memory" });
    const args = { prompt: "a harbour", noiseLevel: 20, numInferenceSteps: 1, numImagesPerPrompt: images };
    const run = { command: "run", image: join(folder, "picture.png"), args, seed: 0, output: join(folder, "out.f32") };
    if (way === "tile") run.args.tile = true;
    let answer = await side.ask(run);
    let seconds = answer.seconds;
    while (!answer.done) {
      answer = await side.ask({ command: "continue" });
      seconds += answer.seconds;
    }
    const { peak } = await side.ask({ command: "memory" });
    await side.close();
    const settings = { side: side.name, way, size, images, dtype, threads };
    return {
      ...settings,
      versions,
      loadedBytes: loaded,
      peakBytes: peak,
      seconds,
      load: { before, after: loadAverage() },
    };
  } finally {
    side.kill();
  }
}

const folder = mkdtempSync(join(tmpdir(), "ip2p-bench-"));
try {
  await drawPicture(join(folder, "picture.png"), size);
  for (const way of ways) {
    const measured = await measure(way, folder);
    const gib = (bytes) => (bytes / GIB).toFixed(2);
    console.log(
      `${measured.side}, ${way}, ${images} of ${size}×${size} by 4, ${dtype}: ${gib(measured.peakBytes)} GiB (loaded ${gib(measured.loadedBytes)}), ${measured.seconds.toFixed(1)} s`,
    );
    if (!values.output) continue;
    const record = existsSync(values.output)
      ? JSON.parse(readFileSync(values.output, "utf8"))
      : { date: new Date().toISOString(), commit: commit(here("..")), machine: describeMachine(), peaks: [] };
    record.peaks.push(measured);
    writeFileSync(values.output, `${JSON.stringify(record, null, 2)}\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

// Measures this package beside diffusers, in turn, on one machine and with the same number of threads:
//
//   npm run bench -- [--case edit,edit-xl,parts,img2img,upscale-x4,kandinsky,kandinsky-prior] [--dtype float32,bfloat16] [--size 256] [--steps 6] [--rounds 1]
//                    [--threads N] [--device cpu|cuda] [--peers eager,channels_last,attention_slicing,compile,openvino,openvino_int8] [--quantization int8]
//                    [--vae_slicing] [--vae_tiling] [--peer_dtype float32] [--apart] [--without_exact] [--model FOLDER] [--output FILE]
//
// IP2P_BENCH_PYTHON names a Python with torch and diffusers, and with openvino and nncf for those peers; without it only this package is measured. The model is one of
// Stable Diffusion 1.5 size, or the case's, with random weights (4 GB, made once in the user's cache) unless another is given. With
// --quantization this package runs with it, and exactly beside it unless --without_exact says not to. --peer_dtype runs diffusers in
// another type. With --apart the sides run one after the other, for models of which memory holds only one at a time. Prints Markdown tables and writes every measured number,
// with machine, versions and settings, and a plot to bench/results/.

import { closeSync, mkdtempSync, openSync, readdirSync, readSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CASES, LARGE, OURS } from "./comparison.mjs";
import { commit, describeMachine, loadAverage } from "./machine.mjs";
import { randomModel } from "./model.mjs";
import { drawPicture } from "./picture.mjs";
import { findPython } from "./python.mjs";
import { report } from "./report.mjs";
import { Side } from "./side.mjs";
import { difference } from "./stats.mjs";

const EXACT = `${OURS}, exact`;
const DTYPES = ["float32", "bfloat16", "float16"];
/** How diffusers is run; the best counts. */
const PEERS = {
  eager: "diffusers",
  channels_last: "diffusers, channels_last",
  attention_slicing: "diffusers, attention slicing",
  compile: "diffusers, torch.compile(max-autotune)",
  // Under diffusers' pipelines: UNet and autoencoder.
  openvino: "OpenVINO",
  openvino_int8: "OpenVINO, int8 by NNCF",
};

const root = fileURLToPath(new URL("..", import.meta.url));
const here = (name) => join(root, "bench", name);
const log = (line) => console.error(`bench: ${line}`);

function options() {
  const { values } = parseArgs({
    options: {
      case: {
        type: "string",
        default: Object.keys(CASES)
          .filter((name) => !LARGE.includes(name))
          .join(","),
      },
      dtype: { type: "string", default: "float32,bfloat16" },
      size: { type: "string", default: "256" },
      steps: { type: "string", default: "6" },
      rounds: { type: "string", default: "1" },
      threads: { type: "string", default: String(availableParallelism()) },
      device: { type: "string", default: "cpu" },
      peers: { type: "string", default: "eager" },
      quantization: { type: "string", default: "none" },
      peer_dtype: { type: "string" },
      apart: { type: "boolean", default: false },
      without_exact: { type: "boolean", default: false },
      vae_slicing: { type: "boolean", default: false },
      vae_tiling: { type: "boolean", default: false },
      model: { type: "string" },
      output: { type: "string" },
    },
  });
  const list = (key, known) => {
    const items = values[key].split(",");
    for (const item of items)
      if (!known.includes(item)) throw new Error(`--${key} must be of ${known.join(", ")}, not ${item}`);
    return items;
  };
  const integer = (key, min) => {
    const value = Number(values[key]);
    if (!Number.isSafeInteger(value) || value < min) throw new Error(`--${key} must be an integer of at least ${min}`);
    return value;
  };
  return {
    cases: list("case", Object.keys(CASES)),
    peers: list("peers", Object.keys(PEERS)),
    device: list("device", ["cpu", "cuda"])[0],
    quantization: list("quantization", ["none", "int8"]).at(-1),
    dtypes: list("dtype", DTYPES),
    peerDtype: values.peer_dtype === undefined ? undefined : list("peer_dtype", DTYPES)[0],
    apart: values.apart,
    withoutExact: values.without_exact,
    size: integer("size", 8),
    // The first step of an edit is not counted because it also encodes.
    steps: integer("steps", 2),
    rounds: integer("rounds", 1),
    threads: integer("threads", 1),
    vaeSlicing: values.vae_slicing,
    vaeTiling: values.vae_tiling,
    model: values.model === undefined ? undefined : resolve(values.model),
    output: values.output,
  };
}

/** Reads the weights once, so that they are in the page cache for both sides. */
function readThrough(folder) {
  const buffer = Buffer.alloc(1 << 24);
  for (const name of readdirSync(folder, { recursive: true })) {
    if (!name.endsWith(".safetensors")) continue;
    const file = openSync(join(folder, name));
    try {
      while (readSync(file, buffer) > 0);
    } finally {
      closeSync(file);
    }
  }
}

function startSides(python, { threads, peers, quantization, withoutExact, dtype, peerDtype = dtype }) {
  const env = { ...process.env, OMP_NUM_THREADS: String(threads), HF_HUB_OFFLINE: "1" };
  const ours = (name, kind) => new Side(name, process.execPath, [here("ours.mjs"), kind], env, dtype);
  const sides = [ours(OURS, quantization)];
  if (quantization !== "none" && !withoutExact) sides.push(ours(EXACT, "none"));
  const theirs = peerDtype === dtype ? "" : `, ${peerDtype}`;
  for (const peer of python ? peers : [])
    sides.push(new Side(`${PEERS[peer]}${theirs}`, python, [here("reference.py"), peer], env, peerDtype));
  return sides;
}

async function measure(name, settings, python) {
  const sides = startSides(python, settings);
  try {
    const about = {};
    for (const side of sides) about[side.name] = await side.ask({ command: "versions", ...settings });
    const before = loadAverage();
    const { pictures, ...measured } = await CASES[name].run(sides, { ...settings, log });
    for (const side of sides) await side.close();
    const { folder: _folder, image: _image, model: _model, ...recorded } = settings;
    const load = { before, after: loadAverage() };
    return { record: { name, settings: recorded, sides: about, loadAverage: load, ...measured }, pictures };
  } finally {
    for (const side of sides) side.kill();
  }
}

async function main() {
  const { cases, dtypes, output, model, ...numbers } = options();
  const python = findPython();
  if (python.missing) log(`diffusers is skipped: ${python.missing}`);
  const folder = mkdtempSync(join(tmpdir(), "ip2p-bench-"));
  try {
    const image = join(folder, "picture.png");
    await drawPicture(image, numbers.size);
    const settings = {
      ...numbers,
      image,
      folder,
      prompt: "turn it into a painting",
      guidanceScale: 7.5,
      imageGuidanceScale: 1.5,
      seed: 0,
    };
    const record = { date: new Date().toISOString(), commit: commit(root), machine: describeMachine(), cases: [] };
    for (const name of cases) {
      const { model: kind, modelName = "Stable Diffusion 1.5" } = CASES[name];
      settings.weights = model === undefined ? `random, ${modelName} size` : "given with --model";
      settings.model = model ?? randomModel(log, kind);
      readThrough(settings.model);
      let exact;
      for (const dtype of dtypes) {
        log(`${name}, ${dtype}: ${CASES[name].description}`);
        const { record: one, pictures } = await measure(name, { dtype, ...settings }, python.path);
        // When sides round differently, compare how far each is from the float32 reference.
        if (dtype === "float32") exact = pictures.diffusers ?? pictures[EXACT] ?? pictures[OURS];
        else if (exact)
          one.fromFloat32 = Object.fromEntries(
            Object.entries(pictures).map(([side, values]) => [side, difference(values, exact, 1)]),
          );
        record.cases.push(one);
      }
    }
    report(record, output ?? here(join("results", `${record.date.slice(0, 19).replaceAll(":", "")}.json`)), log);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  log(error.message);
  process.exitCode = 1;
}

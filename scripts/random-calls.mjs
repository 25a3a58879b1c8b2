// Makes the calls that scripts/random-calls.py recorded, and tells where results differ from diffusers'.
//
//     node scripts/random-calls.mjs FOLDER [CALL…]

import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  ControlNetModel,
  Generator,
  InstructPix2PixError,
  imageToTensor,
  loadSafetensors,
  schedulerFromClassName,
  Tensor,
} from "../dist/index.js";
import { pipelineFromClassName } from "../dist/pipelines/registry.js";

const [folder, ...only] = process.argv.slice(2);
const { runs } = JSON.parse(readFileSync(join(folder, "case.json"), "utf8"));
const expected = await loadSafetensors(join(folder, "expected.safetensors"));
const TOLERANCE = 1e-4;
const OUTPUT_TYPES = { pt: "tensor", latent: "latent", pil: "image" };
/** Of 1, where rounding to 8 bits meets the tolerance. */
const LEVEL = 1.01 / 255;
const camelCase = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

const nets = new Map();
const pipelines = new Map();
const once = async (map, key, make) => {
  if (!map.has(key)) map.set(key, await make());
  return map.get(key);
};

function argument(value) {
  if (Array.isArray(value)) return value.map(argument);
  if (typeof value === "string" && value.endsWith(".png")) return join(folder, value);
  if (typeof value === "object" && value !== null) return expected[value.tensor];
  return value;
}

async function pipelineOf(run) {
  const key = [run.model, run.several, run.controlnets].join();
  const pipe = await once(pipelines, key, async () => {
    const parts = {};
    if (run.controlnets) {
      const list = [];
      for (const net of run.controlnets)
        list.push(await once(nets, net, () => ControlNetModel.fromPretrained(join(folder, net))));
      parts.controlnet = run.several ? list : list[0];
    }
    const loaded = await pipelineFromClassName(run.class).fromPretrained(join(folder, run.model), parts);
    return Object.assign(loaded, { ownScheduler: loaded.scheduler.config });
  });
  pipe.scheduler = schedulerFromClassName(run.scheduler).fromConfig({ ...pipe.ownScheduler, ...run.scheduler_config });
  return pipe;
}

/** The largest difference, of the rows that both pair alike. */
async function difference(actual, wanted, rows, axis) {
  if (actual.shape.join() !== wanted.shape.join()) return `[${actual.shape}] instead of [${wanted.shape}]`;
  const [a, b] = [await actual.toArray(), await wanted.toArray()];
  const inner = wanted.shape.slice(axis + 1).reduce((product, edge) => product * edge, 1);
  let [most, range] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    if (rows && !rows.includes(Math.floor(i / inner) % wanted.shape[axis])) continue;
    range = Math.max(range, Math.abs(b[i]));
    const off = Math.abs(a[i] - b[i]);
    most = off > most || Number.isNaN(off) ? off : most;
  }
  return { most, relative: most / (range || 1) };
}

/** Where several prompts and images meet several results, diffusers pairs images with other prompts in the rows between. */
function pairedAlike({ args }, count) {
  const batch = Array.isArray(args.prompt) ? args.prompt.length : 1;
  return batch > 1 && (args.num_images_per_prompt ?? 1) > 1 ? [0, count - 1] : undefined;
}

async function perform(run, place) {
  const pipe = await pipelineOf(run);
  const seeds = [run.seed].flat();
  const generators = seeds.map((seed) => new Generator("cpu", seed));
  const { output_type, ...rest } = run.args;
  const args = { outputType: OUTPUT_TYPES[output_type] };
  for (const [name, value] of Object.entries(rest)) args[camelCase(name)] = argument(value);
  const trajectory = [];
  const onStep = async ({ latents }) => void trajectory.push(await latents.clone());
  const generator = Array.isArray(run.seed) ? generators : generators[0];
  const { images: result } = await pipe.run({ ...args, generator, onStep });
  const images = Array.isArray(result) ? await imageToTensor(result) : result;
  const wanted = expected[`run${place}.images`];
  if (!wanted) return { refused: true };
  const rows = pairedAlike(run, wanted.shape[0]);
  const off = await difference(images, wanted, rows, 0);
  const steps = [];
  const all = expected[`run${place}.latents`];
  for (const [i, latents] of trajectory.entries()) {
    if (!all || i >= all.shape[0]) break;
    const step = await all.slice(0, i, i + 1);
    const found = await difference(await latents.reshape([1, ...latents.shape]), step, rows, 1);
    steps.push(typeof found === "string" ? found : found.relative.toExponential(1));
  }
  const drawn = await Tensor.cat(await Promise.all(generators.map((each) => Tensor.randn([16], { generator: each }))));
  const same = (await difference(drawn, expected[`run${place}.rng`], undefined, 0)).most < 1e-6;
  return { off, steps, same };
}

const tally = {
  ...{ alike: 0, "both refuse": 0, "neither finite": 0, "diffusers' result is not finite": 0 },
  ...{ "by rounding": 0, differ: 0, "we refuse": 0, "diffusers refuses": 0 },
};
const messages = new Map();
const note = (kind, message, place) => {
  tally[kind]++;
  const key = `${kind}: ${message}`;
  messages.set(key, [...(messages.get(key) ?? []), place]);
};
for (const [place, run] of runs.entries()) {
  if (only.length > 0 && !only.includes(String(place))) continue;
  try {
    const result = await perform(run, place);
    if (result.refused) {
      note("diffusers refuses", run.error, place);
      continue;
    }
    const { off, steps, same } = result;
    const latent = run.args.output_type === "latent";
    const size = typeof off === "string" ? Number.POSITIVE_INFINITY : latent ? off.relative : off.most;
    // Where its result is NaN, there is nothing to compare with.
    if (!run.finite)
      note("diffusers' result is not finite", `${run.scheduler} ${JSON.stringify(run.scheduler_config)}`, place);
    else if (size <= (run.args.output_type === "pil" ? LEVEL : TOLERANCE) && same) tally.alike++;
    else if (same && size <= 30 * run.noise) tally["by rounding"]++;
    else {
      tally.differ++;
      console.log(
        `${place}: ${typeof off === "string" ? off : size.toExponential(2)}, by rounding alone ${run.noise?.toExponential(1)}${same ? "" : ", other draws"}; steps ${steps.join(" ")}`,
      );
    }
    if (only.length > 0) console.log(JSON.stringify(run, null, 1), off, steps);
  } catch (error) {
    if (!(error instanceof InstructPix2PixError)) throw error;
    if (run.error) note("both refuse", `${error.message} | ${run.error.slice(0, 150)}`, place);
    else if (error.code === "ERR_NOT_FINITE" && !run.finite) tally["neither finite"]++;
    else note("we refuse", `${error.code} ${error.message}`, place);
  }
}
console.log(tally);
for (const [message, places] of messages) console.log(`${message} (${places.length}: ${places.slice(0, 6)})`);

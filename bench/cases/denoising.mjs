import { readFileSync } from "node:fs";
import { join } from "node:path";
import { difference, GIB, median } from "../stats.mjs";
import { touchMemory } from "../touch-memory.mjs";

const rows = ({ steps }, { stepSeconds }) => [
  { label: `denoising step, median of ${stepSeconds.length}`, unit: "s", digits: 2, turns: (r) => r.stepSeconds },
  { label: "fastest step", unit: "s", digits: 2, pick: (r) => Math.min(...r.stepSeconds) },
  { label: `whole run, ${steps} steps`, unit: "s", digits: 2, turns: (r) => r.editSeconds },
  { label: "loading the model", unit: "s", digits: 1, pick: (r) => r.loadSeconds },
  { label: "loading and the first step", unit: "s", digits: 1, pick: (r) => r.loadSeconds + r.firstSeconds },
  { label: "peak memory", unit: "GiB", digits: 2, pick: (r) => r.peakBytes / GIB },
];

/**
 * A run of a pipeline as a user starts it.
 *
 * @param {{ what: string, pipeline: string, model: object, modelName?: string, args: (settings: object) => object, fewestSteps?: number }} run
 *   the pipeline's class in diffusers, the random model for it (see model.mjs) and what that is called, and the arguments of its
 *   call in camelCase besides those of all cases; what else it is given: by default the image and the prompt, `embeds` being the
 *   width of random image embeddings; the least number of steps that its scheduler can take, by default one
 */
export function denoisingCase({
  what,
  pipeline,
  model,
  modelName = "Stable Diffusion 1.5",
  args,
  given,
  fewestSteps = 1,
}) {
  const description = `${what}: seconds per denoising step, whole run, load time, peak memory`;
  const run = (sides, settings) =>
    runInTurn(sides, { ...settings, pipeline, args: args(settings), given, fewestSteps });
  return { description, model, modelName, rows, run };
}

/**
 * Takes the sides through the same runs, step by step in turn, so that a busy machine affects both alike; or one after the other
 * if `apart` is set.
 *
 * @param {import("../side.mjs").Side[]} sides
 * @param {object} settings dtype, model, image, steps, rounds, folder for temporary files, log
 * @returns results and last images by the side's name, and the difference between the images
 */
async function runInTurn(sides, settings) {
  const results = {};
  for (const group of settings.apart ? sides.map((side) => [side]) : [sides]) {
    await runTogether(group, settings, results);
    if (settings.apart) await group[0].close(); // frees its memory for the next one
  }
  const pictures = {};
  for (const side of sides)
    pictures[side.name] = new Float32Array(new Uint8Array(readFileSync(outputOf(side, settings))).buffer);
  const [ours, reference] = Object.values(pictures);
  const agreement = reference && { ...difference(ours, reference, 1), deviation: standardDeviation(reference) };
  return { results, agreement, pictures };
}

const outputOf = (side, { folder }) => join(folder, `${side.name}.f32`);

async function runTogether(sides, settings, results) {
  const { model, image, size, steps, rounds, log, pipeline, args, vaeSlicing, vaeTiling } = settings;
  const { given = { image: true, prompt: true } } = settings;
  for (const side of sides) {
    const { dtype } = side;
    touchMemory();
    const { seconds } = await side.ask({ command: "load", model, dtype, size, pipeline, vaeSlicing, vaeTiling });
    results[side.name] = { loadSeconds: seconds, stepSeconds: [], editSeconds: [] };
    log(`${side.name}: loaded in ${seconds.toFixed(1)} s`);
  }
  const edit = (side, count) => ({
    command: "run",
    ...(given.image && { image }),
    ...(given.embeds && { embeds: given.embeds }),
    args: { ...args, ...(given.prompt && { prompt: settings.prompt }), ...withSteps(count, args.strength) },
    seed: settings.seed,
    output: outputOf(side, settings),
  });

  touchMemory();
  // Warm-up: memory is mapped and primitives are created.
  const first = await inTurn(sides, (side) => edit(side, settings.fewestSteps));
  for (const side of sides) results[side.name].firstSeconds = first.get(side)[0];
  for (let round = 1; round <= rounds; round++) {
    // The order of the sides alternates from round to round.
    const order = round % 2 === 1 ? sides : [...sides].reverse();
    const segments = await inTurn(order, (side) => edit(side, steps));
    for (const side of sides) {
      const times = segments.get(side);
      // The first segment also encodes text and image, the last one only decodes.
      results[side.name].stepSeconds.push(...times.slice(1, -1));
      results[side.name].editSeconds.push(times.reduce((sum, time) => sum + time, 0));
    }
    const summary = sides.map((side) => `${side.name} ${median(results[side.name].stepSeconds).toFixed(3)} s/step`);
    log(`round ${round} of ${rounds}: ${summary.join(", ")}`);
  }

  for (const side of sides) {
    const result = results[side.name];
    result.peakBytes = (await side.ask({ command: "memory" })).peak;
    result.medianStepSeconds = median(result.stepSeconds);
    result.medianEditSeconds = median(result.editSeconds);
  }
}

/** The number of inference steps of which so many are taken. */
function withSteps(count, strength = 1) {
  return { numInferenceSteps: Math.ceil(count / strength - 1e-9) };
}

/** Spread of the image's values: near 0, comparing images is meaningless. */
function standardDeviation(values) {
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  return Math.sqrt(Math.max(0, squares / values.length - (sum / values.length) ** 2));
}

/** Gives every side the command, then lets them continue in turn until all are done; seconds of each segment. */
async function inTurn(sides, command) {
  const segments = new Map(sides.map((side) => [side, []]));
  let open = sides;
  let next = command;
  while (open.length > 0) {
    const still = [];
    for (const side of open) {
      const { seconds, done } = await side.ask(next(side));
      segments.get(side).push(seconds);
      if (!done) still.push(side);
    }
    open = still;
    next = () => ({ command: "continue" });
  }
  return segments;
}

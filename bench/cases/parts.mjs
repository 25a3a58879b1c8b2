import { median } from "../stats.mjs";

/** The models around the denoising loop, measured separately. */
export const description = "autoencoder and text encoder: seconds for one image, and for the two prompts of an edit";

const PARTS = { encode: "VAE encode", decode: "VAE decode", text: "text encoder, 2 prompts" };
const REPEATS = 5;

export const rows = () =>
  Object.entries(PARTS).map(([part, label]) => ({
    label: `${label}, median of ${REPEATS}`,
    unit: "s",
    digits: 3,
    turns: (result) => result.partSeconds[part],
  }));

/** Takes the sides through the parts, one call each in turn. */
export async function run(sides, { dtype, model, size, log }) {
  const results = {};
  for (const side of sides) {
    await side.ask({ command: "load", model, dtype });
    results[side.name] = { partSeconds: {} };
  }
  for (const part of Object.keys(PARTS)) {
    for (const side of sides) {
      await side.ask({ command: "part", part, size }); // warm-up
      results[side.name].partSeconds[part] = [];
    }
    for (let repeat = 0; repeat < REPEATS; repeat++)
      for (const side of repeat % 2 === 0 ? sides : [...sides].reverse())
        results[side.name].partSeconds[part].push((await side.ask({ command: "part", part, size })).seconds);
    const summary = sides.map((side) => `${side.name} ${median(results[side.name].partSeconds[part]).toFixed(3)} s`);
    log(`${PARTS[part]}: ${summary.join(", ")}`);
  }
  return { results, pictures: {} };
}

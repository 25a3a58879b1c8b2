// Scores a model on edits of photographs that it has never seen:
//
//   npm run photo:eval -- --model FOLDER --photos DIR [--seed 100] [--count 200] [--resolution 128] [--steps N]
//                         [--guidance_scale G] [--image_guidance_scale I] [--scheduler CLASS] [--dtype float32]
//                         [--quantization none] [--device auto] [--batch 8] [--json] [--sheet FILE] [--sheet_count 24]
//
// The photographs must not be those that it learnt from: `npm run photo:train` puts others into photographs/held-out of its work
// folder. An edit succeeds if the result is nearer to its true target than to the original and to 15 other edits of the same
// crop. PSNR is that of the result to the target; the bound is that of the target through the model's own autoencoder.

import { editorOf, percent, scoreEdits } from "../../dist/evaluation/world.js";
import { writeFileAtomically } from "../../dist/images/write-file.js";
import { imageToTensor, tensorToImages } from "../../dist/index.js";
import { Album, findPhotos } from "../../dist/photos/index.js";
import { judgedPhotos, photoTable, summarisePhotos } from "../../dist/photos/score.js";
import { squaredError } from "../../dist/world/score.js";
import {
  loadModel,
  refuseMissingFolder,
  refuseUsedSeed,
  runProgram,
  scoringOptions,
  singleScoringOptions,
} from "../model/command.mjs";
import { progressBar } from "../model/progress.mjs";
import { drawSheet } from "../model/sheet.mjs";
import { EDITING, LARGE, SEEDS } from "./settings.mjs";

const OPTIONS = {
  ...scoringOptions(EDITING),
  ...singleScoringOptions(EDITING),
  photos: { type: "string", value: "DIR", required: true, help: "the folder of photographs" },
  resolution: { type: "integer", min: 16, max: 1024, default: LARGE, help: "width and height of the crops" },
};

await runProgram("photo:eval", OPTIONS, async (values) => {
  const { photos, resolution, seed, count, batch, sheet, sheetCount } = values;
  const { steps: numInferenceSteps, guidanceScale, imageGuidanceScale } = values;
  refuseUsedSeed(seed, SEEDS);
  if (sheet !== undefined) refuseMissingFolder("--sheet", sheet);
  const { usable } = await findPhotos(photos, resolution);
  const album = new Album(photos, usable, resolution);
  const pipeline = await loadModel(values);
  const bar = progressBar(count);
  const started = performance.now();
  const results = [];
  const bounds = [];
  try {
    const edit = editorOf(pipeline, { numInferenceSteps, guidanceScale, imageGuidanceScale });
    const onProgress = (some) => bar.update(some.length, { note: percent(shareOf(some)) });
    results.push(...(await scoreEdits(judgedPhotos(album, seed, count), edit, { batch, onProgress })));
    for (let first = 0; first < count; first += batch)
      bounds.push(...(await boundsOf(pipeline.vae, results.slice(first, first + batch))));
  } finally {
    bar.stop();
    pipeline.dispose();
  }
  const summary = summarisePhotos(
    results.map(({ example: { family }, score }, i) => ({ ...score, family, bound: bounds[i] })),
  );
  const seconds = Math.round(performance.now() - started) / 1000;
  if (values.json) {
    const settings = { seed, resolution, steps: numInferenceSteps, guidanceScale, imageGuidanceScale };
    console.log(JSON.stringify({ ...summary, ...settings, model: values.model, photos: usable.length, seconds }));
  } else {
    const guidance = `guidance scale ${guidanceScale}, image guidance scale ${imageGuidanceScale}`;
    console.log(`${values.model}: ${numInferenceSteps} steps, ${guidance}, seed ${seed}, ${seconds.toFixed(1)} s\n`);
    console.log(photoTable(summary));
  }
  if (sheet !== undefined) await writeFileAtomically(sheet, await drawSheet(results.slice(0, sheetCount), summary));
});

function shareOf(results) {
  return results.filter(({ score }) => score.success).length / results.length;
}

/** The errors of targets that are encoded and decoded. */
async function boundsOf(vae, results) {
  const targets = results.map(({ example }) => example.target);
  const kept = await throughAutoencoder(vae, targets);
  return targets.map(({ data }, i) => squaredError(kept[i].data, data));
}

/** What is left of images after encoding and decoding. */
async function throughAutoencoder(vae, images) {
  const pixels = await imageToTensor(images);
  const x = await scaled(pixels, 2, -1);
  const { mean, logvar } = await vae.encode(x);
  const decoded = await vae.decode(mean);
  const kept = await scaled(decoded, 0.5, 0.5);
  try {
    return await tensorToImages(kept);
  } finally {
    for (const tensor of [pixels, x, mean, logvar, decoded, kept]) tensor.dispose();
  }
}

async function scaled(tensor, factor, offset) {
  const product = await tensor.mul(factor);
  const sum = await product.add(offset);
  product.dispose();
  return sum;
}

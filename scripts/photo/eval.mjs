// Scores a model on edits of photographs that it has never seen:
//
//   npm run photo:eval -- --model FOLDER --photos DIR [--seed 100] [--count 200] [--resolution 128] [--steps N]
//                         [--guidance_scale G] [--image_guidance_scale I] [--scheduler CLASS] [--dtype float32]
//                         [--quantization none] [--device auto] [--batch 8] [--json] [--sheet FILE] [--sheet_count 24]
//
// The photographs must not be those that it learnt from: `npm run photo:train` puts others into photographs/held-out of its work
// folder. An edit succeeds if the result is nearer to its true target than to the original and to 15 other edits of the same
// crop. PSNR is that of the result to the target; the bound is that of the target through the model's own autoencoder.

import { writeFileAtomically } from "../../dist/images/write-file.js";
import { Generator, imageToTensor, tensorToImages } from "../../dist/index.js";
import { Album, findPhotos } from "../../dist/photos/index.js";
import { judgedPhoto, photoTable, scorePhoto, summarisePhotos } from "../../dist/photos/score.js";
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
  try {
    for (let first = 0; first < count; first += batch) {
      const length = Math.min(batch, count - first);
      const examples = await Promise.all(Array.from({ length }, (_, i) => judgedPhoto(album, seed, first + i)));
      const { images } = await pipeline.run({
        ...{ numInferenceSteps, guidanceScale, imageGuidanceScale },
        prompt: examples.map(({ edit }) => edit.instruction),
        image: examples.map(({ before }) => before),
        generator: examples.map(({ noiseSeed }) => new Generator("cpu", noiseSeed)),
      });
      const kept = await throughAutoencoder(
        pipeline.vae,
        examples.map(({ after }) => after),
      );
      for (const [i, example] of examples.entries()) {
        const bound = squaredError(kept[i].data, example.after.data);
        results.push({ example, picture: images[i], score: { ...scorePhoto(example, images[i]), bound } });
      }
      const { success, psnr } = summaryOf(results);
      bar.update(results.length, { note: `${(100 * success).toFixed(1)} %, ${psnr.toFixed(1)} dB` });
    }
  } finally {
    bar.stop();
    pipeline.dispose();
  }
  const summary = summaryOf(results);
  const seconds = Math.round(performance.now() - started) / 1000;
  if (values.json) {
    const settings = { seed, resolution, steps: numInferenceSteps, guidanceScale, imageGuidanceScale };
    console.log(JSON.stringify({ ...summary, ...settings, model: values.model, photos: usable.length, seconds }));
  } else {
    const guidance = `guidance scale ${guidanceScale}, image guidance scale ${imageGuidanceScale}`;
    console.log(`${values.model}: ${numInferenceSteps} steps, ${guidance}, seed ${seed}, ${seconds.toFixed(1)} s\n`);
    console.log(photoTable(summary));
  }
  if (sheet !== undefined) {
    const shown = results.slice(0, sheetCount).map(({ example: { before, after, edit }, ...result }) => ({
      ...result,
      example: { original: before, target: after, instruction: edit.instruction },
    }));
    await writeFileAtomically(sheet, await drawSheet(shown, summary));
  }
});

function summaryOf(results) {
  return summarisePhotos(results.map(({ example, score }) => ({ ...score, family: example.edit.family })));
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

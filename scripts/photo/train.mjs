// `npm run photo:train`: trains the built-in model for photographs from scratch, or resumes where an earlier run was stopped.
//
//   npm run photo:train -- [--work DIR] [--output models/photo] [--from FOLDER] [--stage NAME] [--device auto]
//
// --from begins with the weights of a model instead of random ones, and --stage with a later stage. All intermediate results stay
// in the work folder: the photographs, the autoencoder, the pairs, the checkpoints, the metrics. What is trained and how long is in
// settings.mjs; which photographs, in photographs.json.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Album, findPhotos, PHOTO_WORDS, photoExample } from "../../dist/photos/index.js";
import { WORLD_WORDS } from "../../dist/world/index.js";
import { stackImages, trainAutoencoder } from "../model/autoencoder.mjs";
import { makeBaseModel } from "../model/base-model.mjs";
import { exportModel } from "../model/export.mjs";
import { makePairs, stagesFrom, stopSignal, timedLog, trainStage } from "../model/stages.mjs";
import { collectPhotographs } from "./photographs.mjs";
import { AUTOENCODER, PAIRS, SCHEDULER, SEEDS, STAGES, TEXT_ENCODER, TOKENS, UNET } from "./settings.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const log = timedLog();
const signal = stopSignal();

/** Crops of the photographs, both sides of each pair. */
async function draw(folder, seed, count) {
  const { size } = AUTOENCODER;
  const { usable } = await findPhotos(folder, size);
  const album = new Album(folder, usable, size);
  let example;
  const one = async (index) => {
    if (index % 2 === 0) example = photoExample(album, seed, index >> 1);
    const { before, after } = await example;
    return index % 2 === 0 ? before : after;
  };
  return stackImages(count, size, one, signal);
}

async function makeBase(work, { learn, heldOut }) {
  const vae = await trainAutoencoder(work, AUTOENCODER, {
    draw: () => draw(learn, SEEDS.autoencoder, AUTOENCODER.pictures),
    drawUnseen: () => draw(heldOut, SEEDS.check, AUTOENCODER.checked),
    log,
    signal,
  });
  const words = [...new Set([...PHOTO_WORDS, ...WORLD_WORDS])].sort();
  const parts = { words, tokens: TOKENS, textEncoder: TEXT_ENCODER, unet: UNET, scheduler: SCHEDULER };
  return await makeBaseModel(join(work, "base"), vae, parts);
}

function makePhotoPairs(work, photos) {
  for (const [folder, { count, seed, resolution }] of Object.entries(PAIRS)) {
    const what = ["--photos", photos, "--count", String(count), "--seed", String(seed)];
    makePairs(join(work, folder), [...what, "--resolution", String(resolution)], log);
  }
}

const { values } = parseArgs({
  options: {
    work: { type: "string", default: join(root, "photo-training") },
    output: { type: "string", default: join(root, "models", "photo") },
    from: { type: "string" },
    stage: { type: "string", default: STAGES[0].name },
    device: { type: "string", default: "auto" },
  },
});
try {
  const { work, device } = values;
  const stages = stagesFrom(STAGES, values.stage);
  const photographs = await collectPhotographs(join(work, "photographs"), log);
  let model = values.from ?? (await makeBase(work, photographs));
  makePhotoPairs(work, photographs.learn);
  for (const stage of stages) model = await trainStage(stage, work, model, { device, log, signal });
  await exportModel(model, values.output);
  log(`${values.output}: done`);
} catch (error) {
  console.error(`photo:train: ${error.message}`);
  process.exitCode = 1;
}

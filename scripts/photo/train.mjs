// `npm run photo:train`: trains the built-in model for photographs from scratch, or resumes where an earlier run was stopped.
//
//   npm run photo:train -- [--work DIR] [--output models/photo] [--from FOLDER] [--stage NAME] [--device auto]
//
// --from begins with the weights of a model instead of random ones, and --stage with a later stage. All intermediate results stay
// in the work folder: the photographs, the autoencoder, the pairs, the checkpoints, the metrics. What is trained and how long is in
// settings.mjs; which photographs, in photographs.json.

import { join } from "node:path";
import { Album, findPhotos, PHOTO_WORDS, photoExample } from "../../dist/photos/index.js";
import { WORLD_WORDS } from "../../dist/world/index.js";
import { stackImages, trainAutoencoder } from "../model/autoencoder.mjs";
import { makeBaseModel } from "../model/base-model.mjs";
import { makeAllPairs, trainModel } from "../model/stages.mjs";
import { collectPhotographs } from "./photographs.mjs";
import { AUTOENCODER, PAIRS, SCHEDULER, SEEDS, STAGES, TEXT_ENCODER, TOKENS, UNET } from "./settings.mjs";

await trainModel("photo", STAGES, async ({ stages, work, log, signal }) => {
  const { learn, heldOut } = await collectPhotographs(join(work, "photographs"), log);
  const source = ({ resolution }) => ["--photos", learn, "--resolution", String(resolution)];
  makeAllPairs(stages, PAIRS, source, { work, log });
  return async () => {
    const vae = await trainAutoencoder(work, AUTOENCODER, {
      draw: () => draw(learn, SEEDS.autoencoder, AUTOENCODER.pictures, signal),
      drawUnseen: () => draw(heldOut, SEEDS.check, AUTOENCODER.checked, signal),
      ...{ log, signal },
    });
    const words = [...new Set([...PHOTO_WORDS, ...WORLD_WORDS])].sort();
    const parts = { words, tokens: TOKENS, textEncoder: TEXT_ENCODER, unet: UNET, scheduler: SCHEDULER };
    return await makeBaseModel(join(work, "base"), vae, parts);
  };
});

/** Crops of the photographs, both sides of each pair. */
async function draw(folder, seed, count, signal) {
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

// `npm run tiny:train`: trains the built-in model from scratch, or resumes where an earlier run was stopped.
//
//   npm run tiny:train -- [--work DIR] [--output models/tiny] [--from FOLDER] [--stage NAME] [--device auto]
//
// --from begins with the weights of a model instead of random ones, and --stage with a later stage:
// `--from models/tiny --stage second` trains the built-in model further. All intermediate results stay in the work folder: the
// autoencoder, the pairs, the checkpoints, the metrics. What is trained and how long is in settings.mjs.

import { join } from "node:path";
import { drawScene, WORLD_WORDS, worldExample } from "../../dist/world/index.js";
import { stackImages, trainAutoencoder } from "../model/autoencoder.mjs";
import { makeBaseModel } from "../model/base-model.mjs";
import { makeAllPairs, trainModel } from "../model/stages.mjs";
import { AUTOENCODER, PAIRS, SCHEDULER, SEEDS, SIZE, STAGES, TEXT_ENCODER, TOKENS, UNET } from "./settings.mjs";

await trainModel("tiny", STAGES, async ({ stages, work, log, signal }) => {
  makeAllPairs(stages, PAIRS, () => ["--world", "--size", String(SIZE)], { work, log });
  return async () => {
    const vae = await trainAutoencoder(work, AUTOENCODER, {
      draw: () => draw(SEEDS.autoencoder, AUTOENCODER.pictures, signal),
      drawUnseen: () => draw(SEEDS.check, AUTOENCODER.checked, signal),
      ...{ log, signal },
    });
    const parts = { words: WORLD_WORDS, tokens: TOKENS, textEncoder: TEXT_ENCODER, unet: UNET, scheduler: SCHEDULER };
    return await makeBaseModel(join(work, "base"), vae, parts);
  };
});

/** Images of the world, both sides of each example. */
function draw(seed, count, signal) {
  const one = (index) => {
    const { scene, edit } = worldExample(seed, index >> 1);
    return drawScene(index % 2 ? edit.target : scene, SIZE);
  };
  return stackImages(count, SIZE, one, signal);
}

// `npm run tiny:train`: trains the built-in model from scratch, or resumes where an earlier run was stopped.
//
//   npm run tiny:train -- [--work DIR] [--output models/tiny] [--from FOLDER] [--stage NAME] [--device auto]
//
// --from begins with the weights of a model instead of random ones, and --stage with a later stage:
// `--from models/tiny --stage second` trains the built-in model further. All intermediate results stay in the work folder: the
// autoencoder, the pairs, the checkpoints, the metrics. What is trained and how long is in settings.mjs.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { drawScene, WORLD_WORDS, worldExample } from "../../dist/world/index.js";
import { stackImages, trainAutoencoder } from "../model/autoencoder.mjs";
import { makeBaseModel } from "../model/base-model.mjs";
import { exportModel } from "../model/export.mjs";
import { makePairs, stagesFrom, stopSignal, timedLog, trainStage } from "../model/stages.mjs";
import { AUTOENCODER, PAIRS, SCHEDULER, SEEDS, SIZE, STAGES, TEXT_ENCODER, TOKENS, UNET } from "./settings.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const log = timedLog();
const signal = stopSignal();

/** Images of the world, both sides of each example. */
function draw(seed, count) {
  const one = (index) => {
    const { scene, edit } = worldExample(seed, index >> 1);
    return drawScene(index % 2 ? edit.target : scene, SIZE);
  };
  return stackImages(count, SIZE, one, signal);
}

function makeWorldPairs(folder, { count, seed, families }) {
  const what = ["--world", "--count", String(count), "--seed", String(seed), "--size", String(SIZE)];
  makePairs(folder, families ? [...what, "--families", families] : what, log);
}

async function makeBase(work) {
  const vae = await trainAutoencoder(
    work,
    { ...AUTOENCODER, size: SIZE },
    {
      draw: () => draw(SEEDS.autoencoder, AUTOENCODER.pictures),
      drawUnseen: () => draw(SEEDS.check, AUTOENCODER.checked),
      log,
      signal,
    },
  );
  const parts = { words: WORLD_WORDS, tokens: TOKENS, textEncoder: TEXT_ENCODER, unet: UNET, scheduler: SCHEDULER };
  return await makeBaseModel(join(work, "base"), vae, parts);
}

const { values } = parseArgs({
  options: {
    work: { type: "string", default: join(root, "tiny-training") },
    output: { type: "string", default: join(root, "models", "tiny") },
    from: { type: "string" },
    stage: { type: "string", default: STAGES[0].name },
    device: { type: "string", default: "auto" },
  },
});
try {
  const { work, device } = values;
  const stages = stagesFrom(STAGES, values.stage);
  for (const [folder, made] of Object.entries(PAIRS)) makeWorldPairs(join(work, folder), made);
  let model = values.from ?? (await makeBase(work));
  for (const stage of stages) model = await trainStage(stage, work, model, { device, log, signal });
  await exportModel(model, values.output);
  log(`${values.output}: done`);
} catch (error) {
  console.error(`tiny:train: ${error.message}`);
  process.exitCode = 1;
}

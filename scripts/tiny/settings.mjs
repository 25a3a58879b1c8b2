// All settings that determine the built-in model.

import {
  AUTOENCODER_LEARNING,
  autoencoderConfig,
  TRAINING as EVERY_STAGE,
  textEncoderConfig,
  unetConfig,
} from "../model/architecture.mjs";

export { SCHEDULER } from "../model/architecture.mjs";

/** Width and height of its images. */
export const SIZE = 64;
/** Tokens of an instruction, the start and the end included. */
export const TOKENS = 20;
/** Seeds of the world: their images do not overlap. */
export const SEEDS = { autoencoder: 1, training: 2, check: 3, guidance: 4, objects: 5 };

export const AUTOENCODER = {
  ...AUTOENCODER_LEARNING,
  ...{ config: autoencoderConfig([16, 32, 64], SIZE, 4), size: SIZE, pictures: 16_000, steps: 3000 },
};

export const TEXT_ENCODER = textEncoderConfig(TOKENS);
export const UNET = unetConfig([64, 96, 96], AUTOENCODER.config, TEXT_ENCODER);

/** What the UNet and the text encoder are trained on: folders in the work folder, in the options of `ip2p make-dataset`. */
export const PAIRS = {
  "pairs/all": { count: 30_000, seed: SEEDS.training },
  // Selecting the object, its property and its place is what a small model learns slowest.
  "pairs/objects": { count: 60_000, seed: SEEDS.objects, families: "recolour,replace,remove,add,resize,move" },
};

const TRAINING = { ...EVERY_STAGE, resolution: SIZE };

/** Runs of `train()`, each starting from the model of the one before. */
export const STAGES = [
  { name: "first", pairs: "pairs/all", options: { ...TRAINING, maxTrainSteps: 8000, lrWarmupSteps: 500 } },
  {
    name: "second",
    pairs: "pairs",
    options: {
      ...TRAINING,
      maxTrainSteps: 12_500,
      lrWarmupSteps: 300,
      // With less noise the result is already visible, and the instruction is not needed.
      timestepBiasStrategy: "later",
      timestepBiasPortion: 0.4,
      timestepBiasMultiplier: 4,
    },
  },
];

/** How the finished model edits, in the options of a pipeline's `run()`. */
export { WORLD_EDITING as EDITING } from "../../dist/evaluation/world.js";

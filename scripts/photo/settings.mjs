// All settings that determine the built-in model for photographs.

import { BUILT_IN_GUIDANCE } from "../../dist/models/built-in.js";
import { PHOTO_FAMILIES } from "../../dist/photos/index.js";
import {
  AUTOENCODER_LEARNING,
  autoencoderConfig,
  SCHEDULER as COMMON_SCHEDULER,
  TRAINING,
  textEncoderConfig,
  unetConfig,
} from "../model/architecture.mjs";

/** Width and height of the crops that it first learns from, and of those at the end. */
export const SIZE = 64;
export const LARGE = 128;
/** The longer side of an image that it edits, unless another is asked for. */
const EDITED = 256;
/** Tokens of an instruction, the start and the end included. */
export const TOKENS = 24;
/** Seeds of crops and edits. */
export const SEEDS = { autoencoder: 1, training: 2, large: 3, check: 4 };

export const AUTOENCODER = {
  ...AUTOENCODER_LEARNING,
  ...{ config: autoencoderConfig([32, 64, 64], EDITED, 8), size: SIZE, pictures: 24_000, steps: 4500 },
};

export const TEXT_ENCODER = textEncoderConfig(TOKENS);
export const UNET = unetConfig([64, 96, 128], AUTOENCODER.config, TEXT_ENCODER);

/** The last timestep is noise alone: with less, an image cannot become much darker or brighter (Lin et al. 2023). */
export const SCHEDULER = { ...COMMON_SCHEDULER, _diffusers_version: "0.42.1", rescale_betas_zero_snr: true };

/** Edits that are harder to learn than the others, once more for each time that they stand here. */
const HARD = [
  ...["posterize", "colour_pop", "colour_pop", "recolour", "recolour", "pixelate", "oil_paint", "snow", "cartoon"],
  ...["combination", "combination", "combination"],
];

/** What the UNet and the text encoder are trained on: folders in the work folder, in the options of `ip2p make-dataset`. */
export const PAIRS = {
  pairs: { count: 40_000, seed: SEEDS.training, resolution: SIZE },
  "pairs-large": { count: 12_000, seed: SEEDS.large, resolution: LARGE },
  "pairs-last": { count: 24_000, seed: SEEDS.large, resolution: LARGE, families: [...PHOTO_FAMILIES, ...HARD] },
};

/** With less noise the result is already visible, and the instruction is not needed. */
const NOISY = { timestepBiasStrategy: "later", timestepBiasPortion: 0.4, timestepBiasMultiplier: 4 };
/** Details are decided with less noise. */
const LESS_NOISY = { ...NOISY, timestepBiasMultiplier: 2 };

const AT_LARGE = { resolution: LARGE, trainBatchSize: 16, learningRate: 4e-4, lrWarmupSteps: 200 };

/** Runs of `train()`, each starting from the model of the one before. */
export const STAGES = [
  {
    name: "first",
    pairs: "pairs",
    options: { ...TRAINING, ...NOISY, resolution: SIZE, maxTrainSteps: 20_000, lrWarmupSteps: 500 },
  },
  {
    name: "large",
    pairs: "pairs-large",
    options: {
      ...TRAINING,
      ...NOISY,
      ...AT_LARGE,
      maxTrainSteps: 6000,
    },
  },
  {
    name: "last",
    pairs: "pairs-last",
    options: {
      ...TRAINING,
      ...LESS_NOISY,
      ...AT_LARGE,
      maxTrainSteps: 6500,
    },
  },
];

/** How the finished model edits, in the options of a pipeline's `run()`. */
export const EDITING = { numInferenceSteps: 20, ...BUILT_IN_GUIDANCE };

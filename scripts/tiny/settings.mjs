// All settings that determine the built-in model.

/** Width and height of its images. */
export const SIZE = 64;
/** Tokens of an instruction, the start and the end included. */
export const TOKENS = 20;
/** Seeds of the world: their images do not overlap. */
export const SEEDS = { autoencoder: 1, training: 2, check: 3, guidance: 4, objects: 5 };

export const AUTOENCODER = {
  config: {
    block_out_channels: [16, 32, 64],
    down_block_types: Array(3).fill("DownEncoderBlock2D"),
    up_block_types: Array(3).fill("UpDecoderBlock2D"),
    layers_per_block: 1,
    latent_channels: 4,
    norm_num_groups: 8,
    sample_size: SIZE,
    mid_block_add_attention: false,
    scaling_factor: 1,
  },
  pictures: 16_000,
  checked: 256,
  steps: 3000,
  batch: 16,
  learningRate: 2e-3,
  warmup: 100,
  klWeight: 1e-5,
};

export const TEXT_ENCODER = {
  hidden_size: 128,
  intermediate_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: TOKENS,
  hidden_act: "quick_gelu",
};

export const UNET = {
  sample_size: SIZE / 4,
  in_channels: 8,
  out_channels: 4,
  block_out_channels: [64, 96, 96],
  down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  layers_per_block: 1,
  norm_num_groups: 8,
  cross_attention_dim: TEXT_ENCODER.hidden_size,
  attention_head_dim: 4,
};

export const SCHEDULER = {
  _class_name: "EulerDiscreteScheduler",
  _diffusers_version: "0.40.0",
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  prediction_type: "v_prediction",
  timestep_spacing: "trailing",
  steps_offset: 1,
};

/** What the UNet and the text encoder are trained on: folders in the work folder, in the options of `ip2p make-dataset`. */
export const PAIRS = {
  "pairs/all": { count: 30_000, seed: SEEDS.training },
  // Selecting the object, its property and its place is what a small model learns slowest.
  "pairs/objects": { count: 60_000, seed: SEEDS.objects, families: "recolour,replace,remove,add,resize,move" },
};

const TRAINING = {
  resolution: SIZE,
  trainBatchSize: 32,
  learningRate: 1e-3,
  lrScheduler: "cosine",
  adamWeightDecay: 1e-2,
  conditioningDropoutProb: 0.05,
  mixedPrecision: "bf16",
  cacheLatents: true,
  trainTextEncoder: true,
  useEma: true,
  checkpointingSteps: 500,
  checkpointsTotalLimit: 2,
  seed: 0n,
};

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

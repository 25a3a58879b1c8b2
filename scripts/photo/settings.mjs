// All settings that determine the built-in model for photographs.

/** Width and height of the crops that it first learns from, and of those at the end. */
export const SIZE = 64;
export const LARGE = 128;
/** Tokens of an instruction, the start and the end included. */
export const TOKENS = 24;
/** Seeds of crops and edits. */
export const SEEDS = { autoencoder: 1, training: 2, large: 3, check: 4 };

export const AUTOENCODER = {
  config: {
    block_out_channels: [32, 64, 64],
    down_block_types: Array(3).fill("DownEncoderBlock2D"),
    up_block_types: Array(3).fill("UpDecoderBlock2D"),
    layers_per_block: 1,
    latent_channels: 4,
    norm_num_groups: 8,
    sample_size: LARGE,
    mid_block_add_attention: false,
    scaling_factor: 1,
  },
  size: SIZE,
  pictures: 24_000,
  checked: 256,
  steps: 5000,
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

/** Attention at the two lower levels only: a larger image costs in proportion. */
export const UNET = {
  sample_size: LARGE / 4,
  in_channels: 2 * AUTOENCODER.config.latent_channels,
  out_channels: AUTOENCODER.config.latent_channels,
  block_out_channels: [64, 96, 128],
  down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  layers_per_block: 1,
  norm_num_groups: 8,
  cross_attention_dim: TEXT_ENCODER.hidden_size,
  attention_head_dim: 4,
};

/** The last timestep is noise alone: with less, an image cannot become much darker or brighter (Lin et al. 2023). */
export const SCHEDULER = {
  _class_name: "EulerDiscreteScheduler",
  _diffusers_version: "0.42.1",
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  prediction_type: "v_prediction",
  rescale_betas_zero_snr: true,
  timestep_spacing: "trailing",
  steps_offset: 1,
};

/** What the UNet and the text encoder are trained on: folders in the work folder, in the options of `ip2p make-dataset`. */
export const PAIRS = {
  pairs: { count: 60_000, seed: SEEDS.training, resolution: SIZE },
  "pairs-large": { count: 16_000, seed: SEEDS.large, resolution: LARGE },
};

const TRAINING = {
  trainBatchSize: 32,
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

/** With less noise the result is already visible, and the instruction is not needed. */
const NOISY = { timestepBiasStrategy: "later", timestepBiasPortion: 0.4, timestepBiasMultiplier: 2 };

/** Runs of `train()`, each starting from the model of the one before. */
export const STAGES = [
  {
    name: "first",
    pairs: "pairs",
    options: {
      ...{ ...TRAINING, ...NOISY },
      ...{ resolution: SIZE, maxTrainSteps: 16_000, learningRate: 1e-3, lrWarmupSteps: 500 },
    },
  },
  {
    name: "large",
    pairs: "pairs-large",
    options: {
      ...TRAINING,
      ...{ resolution: LARGE, trainBatchSize: 16, maxTrainSteps: 4000, learningRate: 4e-4, lrWarmupSteps: 200 },
    },
  },
];

/** How the finished model edits, in the options of a pipeline's `run()`. */
export const EDITING = { numInferenceSteps: 20, guidanceScale: 2, imageGuidanceScale: 1.2 };

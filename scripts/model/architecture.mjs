// What the built-in models have in common.

/** How many times smaller than an image its latents are. */
const FACTOR = 4;

/**
 * An autoencoder without attention.
 *
 * @param {number[]} widths of its three levels
 * @param {number} size of the images that it is for
 * @param {number} channels of a latent
 */
export const autoencoderConfig = (widths, size, channels) => ({
  block_out_channels: widths,
  down_block_types: Array(3).fill("DownEncoderBlock2D"),
  up_block_types: Array(3).fill("UpDecoderBlock2D"),
  layers_per_block: 1,
  latent_channels: channels,
  norm_num_groups: 8,
  sample_size: size,
  mid_block_add_attention: false,
  scaling_factor: 1,
});

/** A text encoder for instructions of so many tokens, the start and the end included. */
export const textEncoderConfig = (tokens) => ({
  hidden_size: 128,
  intermediate_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: tokens,
  hidden_act: "quick_gelu",
});

/**
 * A UNet for latents of an image and of the one to edit, with attention at the two lower levels only, so that a larger image
 * costs in proportion.
 *
 * @param {number[]} widths of its three levels
 * @param {object} autoencoder the configuration of the one that it is for
 * @param {object} textEncoder that of the text encoder
 */
export const unetConfig = (widths, { sample_size: size, latent_channels: channels }, textEncoder) => ({
  sample_size: size / FACTOR,
  in_channels: 2 * channels,
  out_channels: channels,
  block_out_channels: widths,
  down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  layers_per_block: 1,
  norm_num_groups: 8,
  cross_attention_dim: textEncoder.hidden_size,
  attention_head_dim: 4,
});

/** The sampler, which predicts velocities. */
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

/** The learning of an autoencoder, beside its images and steps. */
export const AUTOENCODER_LEARNING = { checked: 256, batch: 16, learningRate: 2e-3, warmup: 100, klWeight: 1e-5 };

/** Options of `train()` in every stage. */
export const TRAINING = {
  trainBatchSize: 32,
  learningRate: 1e-3,
  lrScheduler: "cosine",
  adamWeightDecay: 1e-2,
  conditioningDropoutProb: 0.05,
  cacheLatents: true,
  trainTextEncoder: true,
  useEma: true,
  checkpointingSteps: 500,
  checkpointsTotalLimit: 2,
  seed: 0n,
};

import { declareOptions } from "../../options/declaration.js";

/** Their heading in the help. */
export const RUN = "Run";

/** How long and how to train. */
export const runOptions = declareOptions({
  output_dir: {
    type: "string",
    value: "DIR",
    default: "instruct-pix2pix-model",
    group: RUN,
    mayChange: true,
    help: "where the model, checkpoints and logs go",
  },
  seed: {
    type: "bigint",
    min: 0,
    max: 2n ** 64n - 1n,
    group: RUN,
    help: "seed of all random numbers; by default random, and reported",
  },
  train_batch_size: { type: "integer", min: 1, default: 16, group: RUN, help: "pairs in one micro-step" },
  num_train_epochs: {
    type: "integer",
    min: 1,
    default: 100,
    group: RUN,
    mayChange: true,
    help: "passes over the data",
  },
  max_train_steps: {
    type: "integer",
    min: 1,
    group: RUN,
    mayChange: true,
    help: "optimizer steps; overrides num_train_epochs",
  },
  gradient_accumulation_steps: {
    type: "integer",
    min: 1,
    default: 1,
    group: RUN,
    help: "gradient accumulation: micro-steps per optimizer step",
  },
  conditioning_dropout_prob: {
    type: "number",
    min: 0,
    max: 1,
    group: RUN,
    help: "conditioning dropout for classifier-free guidance: probability of dropping the text, the image, or both (each); by default none",
  },
  timestep_bias_strategy: {
    type: "string",
    choices: ["none", "earlier", "later", "range"],
    default: "none",
    group: RUN,
    help: "which timesteps to train on more often: those with little noise, with much (where the instruction decides), or a range",
  },
  timestep_bias_multiplier: {
    type: "number",
    default: 1,
    group: RUN,
    help: "how many times as often as other timesteps",
  },
  timestep_bias_portion: {
    type: "number",
    min: 0,
    max: 1,
    default: 0.25,
    group: RUN,
    help: "the fraction of timesteps that counts as earlier or later",
  },
  timestep_bias_begin: { type: "integer", min: 0, default: 0, group: RUN, help: "the first timestep of the range" },
  timestep_bias_end: {
    type: "integer",
    min: 1,
    default: 1000,
    group: RUN,
    help: "the end of the range, exclusive",
  },
  compat: {
    type: "string",
    choices: ["diffusers"],
    group: RUN,
    help: "reproduce diffusers' script draw by draw, its quirks included, to compare losses and weights; float32 only, with the draws that it makes on the CPU, where it also computes unless a device is named",
  },
  device: {
    type: "string",
    value: "auto|cpu|cuda[:N]",
    default: "auto",
    group: RUN,
    help: "where to compute",
  },
  num_threads: {
    type: "integer",
    min: 1,
    max: 1024,
    group: RUN,
    help: "threads of CPU operators; by default one per physical core",
  },
  local_rank: {
    type: "integer",
    default: -1,
    group: RUN,
    mayChange: true,
    help: "accepted for old command lines; the environment's RANK and LOCAL_RANK say which of several processes this one is",
  },
  distributed_timeout: {
    type: "integer",
    min: 1,
    max: 86_400,
    value: "SECONDS",
    default: 120,
    group: RUN,
    mayChange: true,
    help: "with several processes, how long one may give no sign of life before the others end",
  },
});

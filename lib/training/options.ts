import { declareOptions, type OptionInput, type OptionValues } from "../options/declaration.js";
import { LR_SCHEDULES } from "./lr-schedule.js";

const MODEL = "Model";
const DATA = "Data";
const RUN = "Run";
const OPTIMIZER = "Optimizer";
const MEMORY = "Memory and speed";
const CHECKPOINTS = "Checkpoints";
const VALIDATION = "Validation";
const REPORTING = "Reporting";
const HUB = "Hub";

/**
 * Every option of `ip2p train`: those of diffusers' `train_instruct_pix2pix.py` with the same names and defaults, and
 * additional ones.
 */
export const trainOptions = declareOptions({
  pretrained_model_name_or_path: {
    type: "string",
    value: "DIR|HUB_ID|FILE",
    required: true,
    group: MODEL,
    help: "the model to start from: a text-to-image model, or an InstructPix2Pix model to continue from; a folder as diffusers saves it, the id of a repository on the Hugging Face hub, or one safetensors file in the original layout",
  },
  config: {
    type: "string",
    value: "DIR|HUB_ID",
    group: MODEL,
    help: "for a model in one file: a folder or repository in diffusers' format whose configurations, tokenizer and scheduler are used; by default those of the published models, which for Stable Diffusion 2 predict the velocity",
  },
  revision: { type: "string", value: "NAME", group: MODEL, help: "branch, tag or commit of the model's repository" },
  variant: { type: "string", value: "NAME", group: MODEL, help: "read *.NAME.safetensors, e.g. fp16" },
  non_ema_revision: {
    type: "string",
    value: "NAME",
    group: MODEL,
    help: "another revision for the UNet's weights; by default the model's own",
  },

  dataset_name: {
    type: "string",
    value: "HUB_ID|DIR",
    group: DATA,
    help: "a data set on the Hugging Face hub, or a folder laid out like one",
  },
  dataset_config_name: { type: "string", value: "NAME", group: DATA, help: "the configuration of the data set" },
  train_data_dir: {
    type: "string",
    value: "DIR",
    group: DATA,
    help: "a folder of pictures with metadata.jsonl, .csv or .parquet, or of parquet files",
  },
  original_image_column: {
    type: "string",
    value: "NAME",
    default: "input_image",
    group: DATA,
    help: "the column of the pictures to edit",
  },
  edited_image_column: {
    type: "string",
    value: "NAME",
    default: "edited_image",
    group: DATA,
    help: "the column of the edited pictures",
  },
  edit_prompt_column: {
    type: "string",
    value: "NAME",
    default: "edit_prompt",
    group: DATA,
    help: "the column of the instructions",
  },
  max_train_samples: { type: "integer", min: 1, group: DATA, help: "train on this many rows only, chosen at random" },
  cache_dir: {
    type: "string",
    value: "DIR",
    group: DATA,
    mayChange: true,
    help: "where downloads and prepared data are kept",
  },
  resolution: {
    type: "integer",
    min: 1,
    default: 256,
    group: DATA,
    help: "pictures are resized to squares of this edge, in pixels",
  },
  center_crop: {
    type: "boolean",
    group: DATA,
    help: "crop at the centre instead of at random; without effect, since pictures are resized first",
  },
  random_flip: { type: "boolean", group: DATA, help: "flip half of the pairs horizontally" },
  dataloader_num_workers: {
    type: "integer",
    min: 0,
    default: 0,
    group: DATA,
    mayChange: true,
    help: "pictures decoded in parallel during training; 0 means 1",
  },
  strict: { type: "boolean", group: DATA, help: "stop at a broken row instead of skipping it" },

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
  train_text_encoder: {
    type: "boolean",
    group: RUN,
    help: "train the text encoder along with the UNet, for words that it does not know yet",
  },
  conditioning_dropout_prob: {
    type: "number",
    min: 0,
    max: 1,
    group: RUN,
    help: "conditioning dropout for classifier-free guidance: probability of dropping the text, the picture, or both (each); by default none",
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
    help: "accepted for old command lines; one process trains",
  },

  learning_rate: { type: "number", min: 0, default: 1e-4, group: OPTIMIZER, help: "after warm-up" },
  scale_lr: {
    type: "boolean",
    group: OPTIMIZER,
    help: "multiply the learning rate by accumulation steps and batch size",
  },
  lr_scheduler: {
    type: "string",
    value: "NAME",
    choices: LR_SCHEDULES,
    default: "constant",
    group: OPTIMIZER,
    help: "schedule of the learning rate",
  },
  lr_warmup_steps: { type: "integer", min: 0, default: 500, group: OPTIMIZER, help: "steps of linear warm-up" },
  lr_step_rules: {
    type: "string",
    value: "RULES",
    group: OPTIMIZER,
    help: 'rules of piecewise_constant: "1:10,0.1:20,0.01" is a factor of 1 up to step 10, 0.1 up to step 20, then 0.01',
  },
  lr_num_cycles: {
    type: "integer",
    min: 1,
    default: 1,
    group: OPTIMIZER,
    help: "how often cosine_with_restarts comes down",
  },
  lr_power: { type: "number", min: 0, default: 1, group: OPTIMIZER, help: "exponent of polynomial" },
  use_8bit_adam: { type: "boolean", group: OPTIMIZER, help: "keep Adam's moments in 8 bits" },
  adam_beta1: { type: "number", min: 0, max: 1, default: 0.9, group: OPTIMIZER, help: "decay of the first moment" },
  adam_beta2: { type: "number", min: 0, max: 1, default: 0.999, group: OPTIMIZER, help: "decay of the second moment" },
  adam_weight_decay: { type: "number", min: 0, default: 1e-2, group: OPTIMIZER, help: "decoupled weight decay" },
  adam_epsilon: {
    type: "number",
    min: 0,
    default: 1e-8,
    group: OPTIMIZER,
    help: "added to the root of the second moment",
  },
  max_grad_norm: { type: "number", min: 0, default: 1.0, group: OPTIMIZER, help: "gradients are clipped to this norm" },
  use_ema: {
    type: "boolean",
    group: OPTIMIZER,
    help: "keep an exponential moving average (EMA) of the weights, and save it as the model",
  },

  mixed_precision: {
    type: "string",
    choices: ["no", "fp16", "bf16"],
    default: "no",
    group: MEMORY,
    help: "mixed precision: compute in half precision with float32 weights",
  },
  gradient_checkpointing: {
    type: "boolean",
    group: MEMORY,
    help: "recompute activations in the backward pass instead of keeping them: less memory, more time",
  },
  shadow_weights: {
    type: "boolean",
    group: MEMORY,
    help: "with mixed precision, keep shadow weights in half precision instead of casting the weights in every pass: identical results, less time, two more bytes of memory per weight",
  },
  cache_latents: {
    type: "boolean",
    group: MEMORY,
    help: "encode pictures and instructions once, into a file, instead of in every epoch",
  },
  allow_tf32: { type: "boolean", group: MEMORY, help: "let CUDA round float32 matrix products to TF32" },
  deterministic: {
    type: "boolean",
    group: MEMORY,
    help: "use deterministic algorithms on CUDA; the CPU is always deterministic",
  },
  enable_xformers_memory_efficient_attention: {
    type: "boolean",
    group: MEMORY,
    mayChange: true,
    help: "accepted for old command lines; attention is always memory-efficient",
  },

  checkpointing_steps: {
    type: "integer",
    min: 1,
    default: 500,
    group: CHECKPOINTS,
    mayChange: true,
    help: "save a checkpoint every so many steps",
  },
  checkpoints_total_limit: {
    type: "integer",
    min: 1,
    group: CHECKPOINTS,
    mayChange: true,
    help: "how many checkpoints of this run to keep",
  },
  resume_from_checkpoint: {
    type: "string",
    value: "DIR|latest",
    group: CHECKPOINTS,
    mayChange: true,
    help: "resume from a checkpoint, also one of diffusers' script; latest is the newest valid one of the run that wrote last into the output folder, if any",
  },
  allow_changed_options: {
    type: "boolean",
    group: CHECKPOINTS,
    mayChange: true,
    help: "resume although options that affect the results differ",
  },

  val_image_url: {
    type: "string",
    value: "FILE|URL",
    group: VALIDATION,
    mayChange: true,
    help: "a picture to edit for validation, read before training begins",
  },
  validation_prompt: { type: "string", value: "TEXT", group: VALIDATION, mayChange: true, help: "its instruction" },
  num_validation_images: {
    type: "integer",
    min: 1,
    default: 4,
    group: VALIDATION,
    mayChange: true,
    help: "edits to make of it",
  },
  validation_epochs: {
    type: "integer",
    min: 1,
    default: 1,
    group: VALIDATION,
    mayChange: true,
    help: "validate after every so many epochs, and at the end",
  },

  logging_dir: {
    type: "string",
    value: "DIR",
    default: "logs",
    group: REPORTING,
    mayChange: true,
    help: "where TensorBoard files go, below the output folder",
  },
  report_to: {
    type: "string",
    value: "tensorboard|wandb|all|none",
    default: "tensorboard",
    group: REPORTING,
    mayChange: true,
    help: "trackers; metrics.jsonl is always written",
  },

  push_to_hub: { type: "boolean", group: HUB, mayChange: true, help: "upload the model when it is trained" },
  hub_token: {
    type: "string",
    value: "TOKEN",
    group: HUB,
    secret: true,
    mayChange: true,
    help: "access token, visible to other users in the process list: prefer hub_token_file; default from HF_TOKEN or the hub's command line",
  },
  hub_token_file: {
    type: "string",
    value: "FILE",
    group: HUB,
    mayChange: true,
    help: "a file with the access token, which should be readable by its owner only",
  },
  hub_model_id: {
    type: "string",
    value: "NAME/NAME",
    group: HUB,
    mayChange: true,
    help: "repository to upload to; by default named after the output folder",
  },
});

export type TrainOptions = OptionValues<typeof trainOptions>;
/** Every option of `ip2p train`, in camelCase, with the same defaults. */
export type TrainInput = OptionInput<typeof trainOptions>;

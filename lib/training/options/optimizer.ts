import { declareOptions } from "../../options/declaration.js";
import { LR_SCHEDULES } from "../lr-schedule.js";

const GROUP = "Optimizer";

/** The optimizer, and the learning rate over time. */
export const optimizerOptions = declareOptions({
  learning_rate: { type: "number", min: 0, default: 1e-4, group: GROUP, help: "after warm-up" },
  scale_lr: {
    type: "boolean",
    group: GROUP,
    help: "multiply the learning rate by accumulation steps and batch size",
  },
  lr_scheduler: {
    type: "string",
    value: "NAME",
    choices: LR_SCHEDULES,
    default: "constant",
    orFactor: true,
    group: GROUP,
    help: "schedule of the learning rate",
  },
  lr_warmup_steps: { type: "integer", min: 0, default: 500, group: GROUP, help: "steps of linear warm-up" },
  lr_step_rules: {
    type: "string",
    value: "RULES",
    group: GROUP,
    help: 'rules of piecewise_constant: "1:10,0.1:20,0.01" is a factor of 1 up to step 10, 0.1 up to step 20, then 0.01',
  },
  lr_num_cycles: {
    type: "integer",
    min: 1,
    default: 1,
    group: GROUP,
    help: "how often cosine_with_restarts comes down",
  },
  lr_power: { type: "number", min: 0, default: 1, group: GROUP, help: "exponent of polynomial" },
  optimizer: {
    type: "string",
    choices: ["adamw", "lion_8bit", "prodigy"],
    default: "adamw",
    group: GROUP,
    help: "adamw; lion_8bit, whose only moment takes one byte per weight, for a learning rate of a third to a tenth and a beta2 of 0.99 (Chen et al. 2023, arXiv 2302.06675); prodigy, which finds the learning rate itself, for a learning rate of 1 (Mishchenko & Defazio 2023, arXiv 2306.06101)",
  },
  use_8bit_adam: { type: "boolean", group: GROUP, help: "keep Adam's moments in 8 bits" },
  adam_beta1: { type: "number", min: 0, max: 1, default: 0.9, group: GROUP, help: "decay of the first moment" },
  adam_beta2: { type: "number", min: 0, max: 1, default: 0.999, group: GROUP, help: "decay of the second moment" },
  adam_weight_decay: { type: "number", min: 0, default: 1e-2, group: GROUP, help: "decoupled weight decay" },
  adam_epsilon: {
    type: "number",
    min: 0,
    default: 1e-8,
    group: GROUP,
    help: "added to the root of the second moment",
  },
  max_grad_norm: { type: "number", min: 0, default: 1.0, group: GROUP, help: "gradients are clipped to this norm" },
  use_ema: {
    type: "boolean",
    group: GROUP,
    help: "keep an exponential moving average (EMA) of the weights, and save it as the model",
  },
  offload_ema: {
    type: "boolean",
    group: GROUP,
    mayChange: true,
    help: "keep averages of the weights in the host's memory instead of the GPU's; on the CPU they are there anyway",
  },
});

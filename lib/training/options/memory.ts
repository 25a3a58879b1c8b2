import { declareOptions } from "../../options/declaration.js";

const GROUP = "Memory and speed";

/** What trades memory, time and precision. */
export const memoryOptions = declareOptions({
  mixed_precision: {
    type: "string",
    choices: ["no", "fp16", "bf16"],
    default: "no",
    group: GROUP,
    help: "mixed precision: compute in half precision with float32 weights",
  },
  weights_dtype: {
    type: "string",
    choices: ["fp32", "bf16"],
    default: "fp32",
    group: GROUP,
    help: "type of the trained weights of linear and convolutional layers, and so of their gradients: bf16 has no float32 copy and takes half the memory (Zamirai et al. 2020, arXiv 2010.06192); on the CPU only",
  },
  weights_rounding: {
    type: "string",
    choices: ["stochastic", "compensated"],
    default: "stochastic",
    group: GROUP,
    help: "how updates are rounded into bf16 weights: stochastic keeps small ones on average (Gupta et al. 2015, arXiv 1502.02551), from the seed; compensated keeps all of them in two more bytes per weight, as float32 weights would (Kahan summation as in Kalamkar et al. 2020, arXiv 2005.04680)",
  },
  gradient_checkpointing: {
    type: "boolean",
    group: GROUP,
    help: "recompute activations in the backward pass instead of keeping them: less memory, more time",
  },
  release_gradients: {
    type: "boolean",
    group: GROUP,
    help: "update each parameter within the backward pass, as soon as its gradient is there, and free the gradient, so that there are never all of them (Lv et al. 2023, arXiv 2306.09782); gradients are then clipped one parameter at a time",
  },
  shadow_weights: {
    type: "boolean",
    group: GROUP,
    help: "with mixed precision, keep shadow weights in half precision instead of casting the weights in every pass: identical results, less time, two more bytes of memory per weight; not on processors that compute in float32 anyway",
  },
  shard_optimizer: {
    type: "boolean",
    group: GROUP,
    mayChange: true,
    help: "with several processes, each keeps its part of the optimizer's moments and of the EMA weights only (ZeRO stage 1): the same results and checkpoints in less memory, for one more exchange of the weights in every step",
  },
  reduce_dtype: {
    type: "string",
    choices: ["fp32", "bf16"],
    default: "fp32",
    group: GROUP,
    help: "with several processes, the type in which float32 gradients are averaged: bf16 moves half as many bytes, and rounds",
  },
  cache_latents: {
    type: "boolean",
    group: GROUP,
    help: "encode images and instructions once, into a file, instead of in every epoch",
  },
  allow_tf32: { type: "boolean", group: GROUP, help: "let CUDA round float32 matrix products to TF32" },
  deterministic: {
    type: "boolean",
    group: GROUP,
    help: "use deterministic algorithms on CUDA; the CPU is always deterministic",
  },
  enable_xformers_memory_efficient_attention: {
    type: "boolean",
    group: GROUP,
    mayChange: true,
    help: "accepted for old command lines; attention is always memory-efficient",
  },
});

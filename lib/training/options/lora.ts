import { declareOptions } from "../../options/declaration.js";

const GROUP = "LoRA";

/** Training a LoRA instead of the whole model. */
export const loraTrainingOptions = declareOptions({
  lora: {
    type: "boolean",
    group: GROUP,
    help: "train a LoRA: narrow factors that are added to the weights of some layers, which stay as they are (Hu et al. 2021, arXiv 2106.09685)",
  },
  rank: { type: "integer", min: 1, max: 4096, default: 4, group: GROUP, help: "the width of the factors" },
  lora_alpha: {
    type: "number",
    min: 0,
    max: 65_536,
    group: GROUP,
    help: "what is added counts alpha / rank; by default as much as the rank",
  },
  lora_dropout: {
    type: "number",
    min: 0,
    max: 0.99,
    default: 0,
    group: GROUP,
    help: "probability of leaving out each input of the factors in training",
  },
  lora_targets: {
    type: "string",
    value: "NAMES",
    group: GROUP,
    help: "the layers that get factors, by the ends of their names: by default to_k,to_q,to_v,to_out.0, which are those of attention, and in a text encoder that is trained q_proj,k_proj,v_proj,out_proj; all-linear stands for every matrix",
  },
  lora_format: {
    type: "string",
    choices: ["diffusers", "kohya"],
    default: "diffusers",
    group: GROUP,
    mayChange: true,
    help: "the names in the file: those of diffusers and peft, or those of kohya's scripts and A1111",
  },
});

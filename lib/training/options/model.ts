import { declareOptions } from "../../options/declaration.js";

/** Their heading in the help. */
export const MODEL = "Model";

/** What training starts from. */
export const modelOptions = declareOptions({
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
});

import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { serverOptions } from "../../server/options.js";
import { computingOptions, MODEL, modelOptions } from "../pictures/options.js";

const { revision: _revision, config: _config, safety_checker: _checker, ...fromOptions } = modelOptions;
const { dtype, device, quantization, num_threads } = computingOptions;

/** Every option of `ip2p serve`. */
export const serveOptions = declareOptions({
  model: {
    type: "strings",
    value: "[NAME=]DIR|HUB_ID",
    help: "a model, and the name that requests give it: a folder as diffusers saves it, or the id of a repository on the Hugging Face hub; may be repeated; the first one is the default; without any, the two small built-in ones: photos, and world for the drawn world of shapes",
  },
  lora: {
    type: "strings",
    value: "[NAME=]FILE|DIR|HUB_ID",
    help: "a LoRA adapter that requests may ask for in loras, and its name; may be repeated; it is loaded when it is first asked for",
  },
  ...serverOptions,
  ...fromOptions,
  dtype: { ...dtype, group: MODEL },
  device: { ...device, group: MODEL },
  quantization: { ...quantization, group: MODEL },
  num_threads: { ...num_threads, group: MODEL },
  verbose: { type: "boolean", help: "show stacks of errors" },
});

export type ServeValues = OptionValues<typeof serveOptions>;

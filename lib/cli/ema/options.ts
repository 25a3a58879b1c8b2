import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { LEAST_WIDTH, MOST_WIDTH } from "../../training/post-hoc-ema/power-function.js";
import { OUTPUT, reportingOptions } from "../reporting-options.js";

/** Every option of `ip2p ema`. */
export const emaOptions = declareOptions({
  model: { type: "string", value: "DIR", required: true, help: "the output folder of `ip2p train --post_hoc_ema`" },
  width: {
    type: "number",
    min: LEAST_WIDTH,
    max: MOST_WIDTH,
    required: true,
    help: "the width of the average: the standard deviation of the weights that it gives to the steps, as a share of all steps",
  },
  step: { type: "integer", min: 1, help: "average up to this step, one with a snapshot; by default the last" },

  output: { type: "string", value: "DIR", required: true, group: OUTPUT, help: "folder of the new model" },
  ...reportingOptions,
});

export type EmaValues = OptionValues<typeof emaOptions>;

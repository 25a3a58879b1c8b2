import { defineCommand } from "./command.js";
import { emaOptions } from "./ema/options.js";

/** `ip2p ema`: averages the weights of a training when it is over. */
export const emaCommand = defineCommand({
  name: "ema",
  summary: "make the average of a training's weights, of any width, when it is over",
  description: [
    "The output folder of `ip2p train --post_hoc_ema` holds snapshots of two averages of the weights. From them this makes the model whose weights are an average of another width, as if it had been kept all the time (Karras et al. 2023, arXiv 2312.02696). Which width is best depends on the model and on how long it learnt, so try several: 0.05, 0.1, 0.15.",
  ],
  examples: ["ip2p ema --model ./my-model --width 0.12 --output ./my-model-ema"],
  options: emaOptions,
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./ema/run.js")).runEma(values, io),
});

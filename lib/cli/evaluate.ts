import { InstructPix2PixError } from "../core/errors.js";
import { camelCase } from "../options/names.js";
import { defineCommand } from "./command.js";
import { type EvaluateValues, evaluateOptions, ONLY_FROM, ONLY_WORLD } from "./evaluate/options.js";

/** `ip2p evaluate`: measures how well a model edits. */
export const evaluateCommand = defineCommand({
  name: "evaluate",
  summary: "measure how well a model edits: pairs with captions by CLIP, or the drawn world",
  description: [
    "--from measures as the InstructPix2Pix paper does: CLIP's similarity of original and result against that of the change of the images and the change of their captions, for several image guidance scales; and as MagicBrush does beside the true edits: L1, L2, CLIP-I and CLIP-T. It prints a table, and draws the curve. A run that was stopped goes on where it was.",
    "--world measures which share of edits succeed in the small world that make-dataset --world draws, where every instruction determines its result.",
  ],
  examples: [
    "ip2p evaluate --model ./my-model --from ./pairs --output ./evaluation --count 500",
    "ip2p evaluate --world --count 40",
  ],
  options: evaluateOptions,
  check(values: EvaluateValues) {
    const { world, from, output, model } = values;
    const refuse = (message: string) => new InstructPix2PixError("ERR_USAGE", message);
    if (world === (from !== undefined))
      throw refuse("give what is measured: --from for your own pairs, or --world for drawn ones");
    if (!world && model === undefined) throw refuse("--from takes --model: what edits");
    if (!world && output === undefined) throw refuse("--from takes --output: a folder for the results");
    for (const name of world ? ONLY_FROM : ONLY_WORLD) {
      const value = values[camelCase(name) as keyof EvaluateValues];
      if (value !== undefined && value !== false) throw refuse(`--${name} goes with --${world ? "from" : "world"}`);
    }
  },
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./evaluate/run.js")).runEvaluate(values, io),
});

import { defineCommand } from "./command.js";
import { makeDatasetOptions } from "./make-dataset/options.js";

/** `ip2p make-dataset`: makes a data set to train on. */
export const makeDatasetCommand = defineCommand({
  name: "make-dataset",
  summary: "make a data set of drawn pictures with instructions and their results",
  description: [
    "Draws scenes of a small world of shapes, and edits of ten families: recolour, replace, remove, add, resize, move, background, time, weather and style. Every instruction determines its result, so that what a model has learnt can be measured. The same seed gives the same data set.",
    "Both formats are read by ip2p train and by diffusers' script with their default columns input_image, edit_prompt and edited_image; original_prompt, edited_prompt and family come along.",
  ],
  examples: [
    "ip2p make-dataset --world --count 20000 --seed 0 --output ./world",
    "ip2p make-dataset --world --count 1000000 --seed 1 --size 128 --format parquet --output ./big-world",
  ],
  options: makeDatasetOptions,
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./make-dataset/run.js")).runMakeDataset(values, io),
});

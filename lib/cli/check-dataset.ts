import { checkDatasetOptions } from "./check-dataset/options.js";
import { defineCommand } from "./command.js";

/** `ip2p check-dataset`: reads a data set before training does. */
export const checkDatasetCommand = defineCommand({
  name: "check-dataset",
  summary: "read all pairs of a data set, and report what is wrong with them",
  description: [
    "Reads every row as ip2p train would, and reports how many there are, sizes, formats, rows that cannot be used, instructions that are longer than the 77 tokens of the text encoder, pairs whose images differ in size or are the same, and rows that repeat others, exactly or nearly. Nothing is changed. libtorch is not needed.",
    "The exit status is 1 if a row cannot be used; with --strict, if there is anything to report.",
  ],
  examples: [
    "ip2p check-dataset --from ./pairs --sheet sheet.jpg",
    "ip2p check-dataset --from ./parquet --strict --json",
  ],
  options: checkDatasetOptions,
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./check-dataset/run.js")).runCheckDataset(values, io),
});

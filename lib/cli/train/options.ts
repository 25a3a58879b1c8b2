import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { trainOptions } from "../../training/options.js";

const OUTPUT = "Output";

/** Every option of `ip2p train`: those of the run and of its output. */
export const trainCommandOptions = declareOptions({
  ...trainOptions,
  json: { type: "boolean", group: OUTPUT, help: "print one JSON object per line for every event" },
  progress: { type: "boolean", default: true, group: OUTPUT, help: "do not draw a progress bar" },
  quiet: { type: "boolean", group: OUTPUT, help: "print warnings and errors only" },
  verbose: { type: "boolean", group: OUTPUT, help: "show the stack of an error" },
});

export type TrainValues = OptionValues<typeof trainCommandOptions>;

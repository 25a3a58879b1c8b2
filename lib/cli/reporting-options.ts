import { declareOptions } from "../options/declaration.js";

/** The group of options that say what a command writes and prints. */
export const OUTPUT = "Output";

/** How a command reports what it does; the last ones of its group. */
export const reportingOptions = declareOptions({
  json: { type: "boolean", group: OUTPUT, help: "print one JSON object per line for every event" },
  progress: { type: "boolean", default: true, group: OUTPUT, help: "do not show progress" },
  quiet: { type: "boolean", group: OUTPUT, help: "print nothing but errors" },
  verbose: { type: "boolean", group: OUTPUT, help: "show stacks of errors" },
});

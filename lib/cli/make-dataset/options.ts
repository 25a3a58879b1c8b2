import { declareOptions, type OptionValues } from "../../options/declaration.js";

const OUTPUT = "Output";

/** Every option of `ip2p make-dataset`. */
export const makeDatasetOptions = declareOptions({
  world: { type: "boolean", help: "draw examples of the built-in world; the only source, and required" },
  count: { type: "integer", value: "N", min: 1, max: 9_999_999, required: true, help: "how many pairs of pictures" },
  output: {
    type: "string",
    value: "DIR",
    required: true,
    help: "the folder to create; it must not exist or be empty, and appears when everything is written",
  },
  seed: {
    type: "integer",
    value: "N",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    default: 0,
    help: "seed of the examples: two seeds share examples only by chance",
  },
  size: {
    type: "integer",
    value: "N",
    min: 16,
    max: 4096,
    default: 64,
    help: "width and height of the pictures in pixels",
  },
  families: {
    type: "string",
    value: "NAME,…",
    help: "draw edits of these families only, in turn; by default of all",
  },
  format: {
    type: "string",
    choices: ["imagefolder", "parquet"],
    default: "imagefolder",
    help: "PNG files with a metadata.jsonl, or parquet files of up to 500 MB as on the Hugging Face hub",
  },

  json: { type: "boolean", group: OUTPUT, help: "print one JSON object per line for every event" },
  progress: { type: "boolean", default: true, group: OUTPUT, help: "do not show progress" },
  quiet: { type: "boolean", group: OUTPUT, help: "print nothing but errors" },
  verbose: { type: "boolean", group: OUTPUT, help: "show stacks of errors" },
});

export type MakeDatasetValues = OptionValues<typeof makeDatasetOptions>;

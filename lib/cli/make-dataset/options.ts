import { DATASET_FORMATS } from "../../data/write/formats.js";
import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { columnOptions } from "../pairs/options.js";

const FROM = "Your own pairs";
const WORLD = "Drawn pairs";
const OUTPUT = "Output";

/** Every option of `ip2p make-dataset`. */
export const makeDatasetOptions = declareOptions({
  output: {
    type: "string",
    value: "DIR",
    required: true,
    help: "the folder to create; it must not exist or be empty, and appears when everything is written",
  },
  format: {
    type: "string",
    choices: DATASET_FORMATS,
    default: "folder",
    help: "a folder of image files with a metadata.jsonl, or parquet files of up to 500 MB as on the Hugging Face hub",
  },
  count: {
    type: "integer",
    value: "N",
    min: 1,
    max: 9_999_999,
    help: "how many pairs to draw; with --from only so many of the first pairs are taken, by default all",
  },

  from: { type: "string", value: "DIR|FILE", group: FROM, help: "read your own pairs from this folder or file" },
  ...columnOptions,
  skip_unusable: {
    type: "boolean",
    group: FROM,
    help: "leave out pairs that cannot be used, and count them, instead of stopping at the first",
  },

  world: { type: "boolean", group: WORLD, help: "draw examples of the built-in world" },
  seed: {
    type: "integer",
    value: "N",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    group: WORLD,
    help: "seed of the examples: two seeds share examples only by chance; by default 0",
  },
  size: {
    type: "integer",
    value: "N",
    min: 16,
    max: 4096,
    group: WORLD,
    help: "width and height of the images in pixels; by default 64",
  },
  families: {
    type: "string",
    value: "NAME,…",
    group: WORLD,
    help: "draw edits of these families only, in turn; by default of all",
  },

  json: { type: "boolean", group: OUTPUT, help: "print one JSON object per line for every event" },
  progress: { type: "boolean", default: true, group: OUTPUT, help: "do not show progress" },
  quiet: { type: "boolean", group: OUTPUT, help: "print nothing but errors" },
  verbose: { type: "boolean", group: OUTPUT, help: "show stacks of errors" },
});

export type MakeDatasetValues = OptionValues<typeof makeDatasetOptions>;

/** Options that one source alone has, and that have no default. */
export const ONLY_FROM = ["skip_unusable"] as const;
export const ONLY_WORLD = ["seed", "size", "families"] as const;

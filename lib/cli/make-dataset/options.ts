import { DATASET_FORMATS } from "../../data/write/formats.js";
import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { columnOptions } from "../pairs/options.js";
import { OUTPUT, reportingOptions } from "../reporting-options.js";

const FROM = "Your own pairs";
const OWN = "Your own pairs, and two folders";
const FOLDERS = "Two folders of your own images";
const WORLD = "Drawn pairs";
const PHOTOS = "Pairs of your photographs";
const MADE = "Drawn pairs, and those of photographs";

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
    help: "how many pairs to make; with --photos by default 20 for each photograph; with --from only so many of the first pairs are taken, by default all",
  },

  from: { type: "string", value: "DIR|FILE", group: FROM, help: "read your own pairs from this folder or file" },
  ...columnOptions,

  before: {
    type: "string",
    value: "DIR",
    group: FOLDERS,
    help: "pair the images in this folder with those of the same names, whatever their endings, in --after",
  },
  after: { type: "string", value: "DIR", group: FOLDERS, help: "the folder of the edited images" },
  prompts: {
    type: "string",
    value: "DIR|FILE",
    group: FOLDERS,
    help: "where the instructions are: a folder with NAME.txt for each pair, or a file of lines with a name, a tab and the instruction; by default the folder --after",
  },
  prompt: { type: "string", value: "TEXT", group: FOLDERS, help: "one instruction for all pairs instead" },

  skip_unusable: {
    type: "boolean",
    group: OWN,
    help: "leave out pairs that cannot be used, and count them, instead of stopping at the first",
  },

  world: { type: "boolean", group: WORLD, help: "draw examples of the built-in world" },
  size: {
    type: "integer",
    value: "N",
    min: 16,
    max: 4096,
    group: WORLD,
    help: "width and height of the images in pixels; by default 64",
  },

  photos: {
    type: "string",
    value: "DIR",
    group: PHOTOS,
    help: "make edits of the photographs in this folder and its subfolders",
  },
  resolution: {
    type: "integer",
    value: "N",
    min: 16,
    max: 4096,
    group: PHOTOS,
    help: "width and height of the crops in pixels; photographs with a shorter side are left out; by default 256",
  },
  held_out: {
    type: "number",
    value: "X",
    min: 0,
    max: 0.99,
    group: PHOTOS,
    help: "share of the photographs to hold out, by whole file, chosen by its content; by default 0",
  },
  only_held_out: {
    type: "boolean",
    group: PHOTOS,
    help: "make pairs of the photographs that --held_out holds out, and of no others",
  },

  seed: {
    type: "integer",
    value: "N",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    group: MADE,
    help: "seed of the examples: two seeds share examples only by chance; by default 0",
  },
  families: {
    type: "string",
    value: "NAME,…",
    group: MADE,
    help: "make edits of these families only, in turn; by default of all",
  },

  check: {
    type: "boolean",
    group: OUTPUT,
    help: "read what was written as ip2p check-dataset does, and report sizes, repeated pairs, long instructions and whatever else there is to know",
  },
  sheet: {
    type: "string",
    value: "FILE",
    group: OUTPUT,
    help: "write a contact sheet of some pairs; the extension says the format; goes with --check",
  },
  ...reportingOptions,
});

export type MakeDatasetValues = OptionValues<typeof makeDatasetOptions>;

/** The sources of a data set: each is an option. */
export const SOURCES = ["from", "before", "world", "photos"] as const;
export type Source = (typeof SOURCES)[number];

/** Options that only some sources have, and that have no default. */
export const ONLY_OF: Readonly<Record<string, readonly Source[]>> = {
  skip_unusable: ["from", "before"],
  after: ["before"],
  prompts: ["before"],
  prompt: ["before"],
  size: ["world"],
  resolution: ["photos"],
  held_out: ["photos"],
  only_held_out: ["photos"],
  seed: ["world", "photos"],
  families: ["world", "photos"],
};

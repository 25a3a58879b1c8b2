import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { columnOptions } from "../pairs/options.js";
import { OUTPUT, reportingOptions } from "../reporting-options.js";

const DATA = "Data";

/** Every option of `ip2p check-dataset`. */
export const checkDatasetOptions = declareOptions({
  from: {
    type: "string",
    value: "DIR|FILE",
    required: true,
    help: "a folder of images with metadata.jsonl, .csv or .parquet, a folder of parquet files, or one of these files",
  },
  ...columnOptions,
  workers: {
    type: "integer",
    min: 1,
    max: 1000,
    default: 2,
    group: DATA,
    help: "rows that are read and decoded at a time",
  },
  cache_dir: {
    type: "string",
    value: "DIR",
    group: DATA,
    help: "where parquet files that are compressed are unpacked, for training too; by default this package's cache",
  },

  sheet: {
    type: "string",
    value: "FILE",
    group: OUTPUT,
    help: "write a contact sheet of some pairs; the extension says the format (png, jpg, webp, avif, tiff, gif)",
  },
  sheet_pairs: { type: "integer", min: 1, max: 1000, default: 24, group: OUTPUT, help: "pairs on the contact sheet" },
  strict: {
    type: "boolean",
    group: OUTPUT,
    help: "exit with 1 for everything that is reported, not for unusable rows only",
  },
  ...reportingOptions,
});

export type CheckDatasetValues = OptionValues<typeof checkDatasetOptions>;

import { declareOptions } from "../../options/declaration.js";

const GROUP = "Data";

/** The pairs to train on. */
export const dataOptions = declareOptions({
  dataset_name: {
    type: "string",
    value: "HUB_ID|DIR",
    group: GROUP,
    help: "a data set on the Hugging Face hub, or a folder laid out like one",
  },
  dataset_config_name: { type: "string", value: "NAME", group: GROUP, help: "the configuration of the data set" },
  train_data_dir: {
    type: "string",
    value: "DIR",
    group: GROUP,
    help: "a folder of images with metadata.jsonl, .csv or .parquet, of parquet files, or of WebDataset's tar shards",
  },
  train_shards: {
    type: "string",
    value: "PATHS|URLS",
    addresses: true,
    group: GROUP,
    help: "tar shards of a WebDataset, on the disk or at http(s) addresses: several with :: between them, {000..123} for numbers; shards are read in whole, in another order each epoch",
  },
  shard_cache: {
    type: "number",
    min: 0,
    default: 20,
    group: GROUP,
    mayChange: true,
    help: "gigabytes of unpacked shards that are kept in cache_dir; what was not used for longest goes first and is read again when it is needed",
  },
  original_image_column: {
    type: "string",
    value: "NAME",
    default: "input_image",
    group: GROUP,
    help: "the column of the images to edit",
  },
  edited_image_column: {
    type: "string",
    value: "NAME",
    default: "edited_image",
    group: GROUP,
    help: "the column of the edited images",
  },
  edit_prompt_column: {
    type: "string",
    value: "NAME",
    default: "edit_prompt",
    group: GROUP,
    help: "the column of the instructions",
  },
  max_train_samples: { type: "integer", min: 1, group: GROUP, help: "train on this many rows only, chosen at random" },
  cache_dir: {
    type: "string",
    value: "DIR",
    group: GROUP,
    mayChange: true,
    help: "where downloads and prepared data are kept",
  },
  resolution: {
    type: "integer",
    min: 1,
    default: 256,
    group: GROUP,
    help: "images are resized to squares of this edge, in pixels",
  },
  aspect_ratio_buckets: {
    type: "boolean",
    group: GROUP,
    help: "keep images' proportions: each pair is resized to the nearest of several sizes with about as many pixels as the resolution's square, what stands out is cut off in the middle, and batches are of one size; sizes come from the edited images (NovelAI 2022)",
  },
  bucket_step: {
    type: "integer",
    min: 1,
    max: 4096,
    default: 64,
    group: GROUP,
    help: "the sides of aspect-ratio buckets are multiples of this number of pixels",
  },
  center_crop: {
    type: "boolean",
    group: GROUP,
    help: "crop at the centre instead of at random; without effect, since images are resized first",
  },
  random_flip: { type: "boolean", group: GROUP, help: "flip half of the pairs horizontally" },
  dataloader_num_workers: {
    type: "integer",
    min: 0,
    default: 0,
    group: GROUP,
    mayChange: true,
    help: "images decoded in parallel during training; 0 means 1",
  },
  strict: { type: "boolean", group: GROUP, help: "stop at a broken row instead of skipping it" },
});

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
    help: "a folder of images with metadata.jsonl, .csv or .parquet, or of parquet files",
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

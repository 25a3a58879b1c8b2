import { InstructPix2PixError } from "../core/errors.js";
import { camelCase } from "../options/names.js";
import { defineCommand } from "./command.js";
import { type MakeDatasetValues, makeDatasetOptions, ONLY_FROM, ONLY_WORLD } from "./make-dataset/options.js";

/** `ip2p make-dataset`: makes a data set to train on. */
export const makeDatasetCommand = defineCommand({
  name: "make-dataset",
  summary: "make a data set: of your own pairs of images in another layout, or of drawn images",
  description: [
    "--from reads pairs in any layout that ip2p train reads: a folder with a metadata.jsonl, .csv or .parquet that names the images, a folder of parquet files, or one of these files. The files of the images are copied byte for byte. Columns get the default names, and other columns of text come along. Memory does not grow with the data set.",
    "--world draws scenes of a small world of shapes, and edits of ten families: recolour, replace, remove, add, resize, move, background, time, weather and style. Every instruction determines its result, so that what a model has learnt can be measured. The same seed gives the same data set.",
    "Both layouts are read by ip2p train and by diffusers' script with their default columns input_image, edit_prompt and edited_image. In the drawn world, original_prompt, edited_prompt and family come along.",
  ],
  examples: [
    "ip2p make-dataset --from ./pairs --format parquet --output ./pairs-as-parquet",
    "ip2p make-dataset --from ./parquet/data/train-00000-of-00001.parquet --output ./pairs-as-folder",
    "ip2p make-dataset --world --count 20000 --seed 0 --output ./world",
    "ip2p make-dataset --world --count 1000000 --seed 1 --size 128 --format parquet --output ./big-world",
  ],
  options: makeDatasetOptions,
  check(values: MakeDatasetValues) {
    const { world, from, count } = values;
    const refuse = (message: string) => new InstructPix2PixError("ERR_USAGE", message);
    if (world === (from !== undefined))
      throw refuse("give one source of the data set: --from for your own pairs, or --world for drawn ones");
    if (world && count === undefined) throw refuse("--world takes --count: how many pairs to draw");
    for (const name of world ? ONLY_FROM : ONLY_WORLD)
      if (
        values[camelCase(name) as keyof MakeDatasetValues] ||
        values[camelCase(name) as keyof MakeDatasetValues] === 0
      )
        throw refuse(`--${name} goes with --${world ? "from" : "world"}`);
  },
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./make-dataset/run.js")).runMakeDataset(values, io),
});

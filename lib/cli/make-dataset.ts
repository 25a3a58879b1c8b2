import { InstructPix2PixError } from "../core/errors.js";
import { camelCase } from "../options/names.js";
import { defineCommand } from "./command.js";
import { type MakeDatasetValues, makeDatasetOptions, ONLY_OF, SOURCES } from "./make-dataset/options.js";

/** `ip2p make-dataset`: makes a data set to train on. */
export const makeDatasetCommand = defineCommand({
  name: "make-dataset",
  summary: "make a data set: of your own pairs of images in another layout, of your photographs, or of drawn images",
  description: [
    "--from reads pairs in any layout that ip2p train reads: a folder with a metadata.jsonl, .csv or .parquet that names the images, a folder of parquet files, or one of these files. The files of the images are copied byte for byte. Columns get the default names, and other columns of text come along. Memory does not grow with the data set.",
    "--before and --after pair the images of two folders by their names, with instructions from texts beside them, from a list, or one for all.",
    "--world draws scenes of a small world of shapes, and edits of ten families: recolour, replace, remove, add, resize, move, background, time, weather and style. Every instruction determines its result, so that what a model has learnt can be measured. The same seed gives the same data set.",
    "--photos makes crops of your photographs, and edits of them whose results can be computed: black and white, warmer, sharper, night, snow, oil paint, a named colour changed into another, frames and others, slightly to strongly, and two at once; each in many wordings. Photographs that cannot be read are named and left out. After an interruption the same command goes on where it was.",
    "Both layouts are read by ip2p train and by diffusers' script with their default columns input_image, edit_prompt and edited_image. In pairs that are drawn or of photographs, original_prompt, edited_prompt and family come along, and the photograph's name as photo.",
  ],
  examples: [
    "ip2p make-dataset --from ./pairs --format parquet --output ./pairs-as-parquet",
    "ip2p make-dataset --from ./parquet/data/train-00000-of-00001.parquet --output ./pairs-as-folder",
    "ip2p make-dataset --before ./before --after ./after --prompts ./prompts.tsv --check --sheet sheet.jpg --output ./pairs",
    "ip2p make-dataset --world --count 20000 --seed 0 --output ./world",
    "ip2p make-dataset --photos ./photos --held_out 0.2 --count 20000 --output ./photo-pairs",
    "ip2p make-dataset --photos ./photos --held_out 0.2 --only_held_out --count 500 --output ./photo-pairs-to-test",
    "ip2p make-dataset --world --count 1000000 --seed 1 --size 128 --format parquet --output ./big-world",
  ],
  options: makeDatasetOptions,
  check(values: MakeDatasetValues) {
    const refuse = (message: string) => new InstructPix2PixError("ERR_USAGE", message);
    const given = SOURCES.filter((source) => values[source] !== undefined && values[source] !== false);
    const [source] = given;
    if (source === undefined || given.length > 1)
      throw refuse(
        "give one source of the data set: --from for your own pairs, --before for two folders of images, --photos for your photographs, or --world for drawn pairs",
      );
    if (source === "before" && values.after === undefined)
      throw refuse("--before takes --after: the folder of the edited images");
    if (values.prompt !== undefined && values.prompts !== undefined)
      throw refuse("--prompt is one instruction for all pairs, --prompts are many: give one of them");
    if (values.sheet !== undefined && !values.check) throw refuse("--sheet goes with --check");
    if (source === "world" && values.count === undefined) throw refuse("--world takes --count: how many pairs to draw");
    for (const [name, sources] of Object.entries(ONLY_OF)) {
      const value = values[camelCase(name) as keyof MakeDatasetValues];
      if ((value || value === 0) && !sources.includes(source))
        throw refuse(`--${name} goes with ${sources.map((each) => `--${each}`).join(" and ")}`);
    }
    if (values.onlyHeldOut && !values.heldOut)
      throw refuse("--only_held_out takes --held_out: the share of photographs to hold out");
  },
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./make-dataset/run.js")).runMakeDataset(values, io),
});

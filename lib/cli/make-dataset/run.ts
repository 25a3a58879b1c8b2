import { counted } from "../../core/counted.js";
import { InstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { checkDataset } from "../../data/check/check-dataset.js";
import type { DatasetReport } from "../../data/check/report.js";
import { convertDataset, describeLeftOut } from "../../data/convert.js";
import type { PairFolders } from "../../data/pair-folders.js";
import { createEditWriter } from "../../data/write/formats.js";
import { makeFolder } from "../../data/write/new-folder.js";
import { makePhotoDataset } from "../../photos/dataset.js";
import { PHOTO_FAMILIES } from "../../photos/families/index.js";
import { EDIT_FAMILIES } from "../../world/edit.js";
import { worldRows } from "../../world/rows.js";
import { describeReport, snakeCased } from "../check-dataset/text.js";
import type { CommandIo } from "../command.js";
import { rounded } from "../json-lines.js";
import { createPairsReporter, type PairsReporter } from "../pairs/reporter.js";
import { reported } from "../reporting.js";
import { type MakeDatasetValues, makeDatasetOptions } from "./options.js";

/** What the last event says of one source, besides what it says of every data set. */
interface Made {
  rows: number;
  [field: string]: unknown;
}

/** Runs `ip2p make-dataset`. */
export async function runMakeDataset(values: MakeDatasetValues, io: CommandIo): Promise<number> {
  const verb = values.world ? "drawing" : values.photos === undefined ? "copying" : "editing";
  const reporter = createPairsReporter({ ...values, verb, declarations: makeDatasetOptions }, io);
  await reported(
    reporter,
    (message) => reporter.warning(message),
    async () => {
      const { output, format } = values;
      const started = performance.now();
      const made = await makeFrom(values, reporter, io);
      const seconds = (performance.now() - started) / 1000;
      const report = values.check ? await check(values, reporter, io) : undefined;
      const words = `${output}: ${counted(made.rows, "pair")} in ${seconds.toFixed(1)} s`;
      reporter.done(report ? `${words}\n${describeReport(report)}` : words, {
        ...{ output, format, ...made, seconds: rounded(seconds) },
        ...(report && { report: snakeCased(report) }),
      });
    },
  );
  return 0;
}

function makeFrom(values: MakeDatasetValues, reporter: PairsReporter, io: CommandIo): Promise<Made> {
  const { from, photos, before, after, prompts, prompt } = values;
  if (from !== undefined) return convert(from, values, reporter, io);
  if (before !== undefined) return convert({ before, after: after!, prompts, prompt }, values, reporter, io);
  return photos === undefined ? draw(values, reporter, io) : edit({ ...values, photos }, reporter, io);
}

async function draw(values: MakeDatasetValues, reporter: PairsReporter, { signal }: CommandIo): Promise<Made> {
  const { count = 0, seed = 0, size = 64, format, output } = values;
  const families = namedFamilies(values.families, EDIT_FAMILIES);
  await makeFolder(output, async (folder) => {
    await using writer = await createEditWriter(format, folder);
    let done = 0;
    for await (const row of worldRows(seed, count, size, families)) {
      throwIfAborted(signal);
      await writer.write(row);
      reporter.progress(++done, count);
    }
    await writer.finish();
  });
  return { rows: count, seed, size };
}

/** Skipped rows and photographs that are named; further ones are only counted. */
const NAMED = 20;

async function edit(
  values: MakeDatasetValues & { photos: string },
  reporter: PairsReporter,
  { signal }: CommandIo,
): Promise<Made> {
  const { photos, output, format, count, resolution = 256, seed = 0, heldOut, onlyHeldOut } = values;
  const families = namedFamilies(values.families, PHOTO_FAMILIES);
  let unusable = 0;
  const made = await makePhotoDataset({
    ...{ photos, output, format, count, resolution, seed, families, heldOut, onlyHeldOut, signal },
    onUnusable: ({ name, reason }) => {
      if (++unusable <= NAMED) reporter.warning(`${quote(name)} ${reason}`);
    },
    onResume: (rows) =>
      reporter.warning(`${counted(rows, "pair")} of an interrupted run are there; going on after them`),
    onProgress: ({ stage, done, total }) => {
      if (stage === "making") reporter.progress(done, total);
    },
  });
  if (unusable > 0) reporter.warning(`left out, since they cannot be used: ${counted(unusable, "photograph")}`);
  return {
    rows: made.rows,
    ...{ photos: made.photos, other_photos: made.otherPhotos, unusable_photos: unusable, seed, resolution },
  };
}

async function convert(
  from: string | PairFolders,
  values: MakeDatasetValues,
  reporter: PairsReporter,
  { signal }: CommandIo,
): Promise<Made> {
  const { output, format, count, originalImageColumn, editedImageColumn, editPromptColumn, skipUnusable } = values;
  let skipped = 0;
  const made = await convertDataset({
    ...{ from, output, format, count, originalImageColumn, editedImageColumn, editPromptColumn, skipUnusable, signal },
    onSkip: (reason) => {
      if (++skipped <= NAMED) reporter.warning(`row skipped: ${reason}`);
    },
    onProgress: (done, total) => reporter.progress(done, total),
  });
  const leftOut = describeLeftOut(made);
  if (leftOut !== undefined) reporter.warning(leftOut);
  const source = typeof from === "string" ? { from } : { before: from.before, after: from.after };
  return { rows: made.rows, ...source, skipped_rows: made.skippedRows, left_out_columns: made.leftOutColumns };
}

/** What there is to say of the data set that was made. */
function check(
  { output, sheet }: MakeDatasetValues,
  reporter: PairsReporter,
  { signal }: CommandIo,
): Promise<DatasetReport> {
  return checkDataset({
    ...{ from: output, sheet, signal },
    onProgress: ({ done, total }) => reporter.progress(done, total),
  });
}

/** @throws `ERR_USAGE` for a name that no family has */
function namedFamilies<T extends string>(names: string | undefined, known: readonly T[]): readonly T[] | undefined {
  return names?.split(",").map((name) => {
    const family = known.find((each) => each === name.trim());
    if (!family)
      throw new InstructPix2PixError(
        "ERR_USAGE",
        `unknown family of edits ${JSON.stringify(name.trim())}; known: ${known.join(", ")}`,
      );
    return family;
  });
}

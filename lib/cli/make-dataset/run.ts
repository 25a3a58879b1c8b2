import { counted } from "../../core/counted.js";
import { InstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { convertDataset, describeLeftOut } from "../../data/convert.js";
import { createEditWriter } from "../../data/write/formats.js";
import { makeFolder } from "../../data/write/new-folder.js";
import { EDIT_FAMILIES, type EditFamily } from "../../world/edit.js";
import { worldRows } from "../../world/rows.js";
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
  const verb = values.world ? "drawing" : "copying";
  const reporter = createPairsReporter({ ...values, verb, declarations: makeDatasetOptions }, io);
  await reported(
    reporter,
    (message) => reporter.warning(message),
    async () => {
      const { output, format, from } = values;
      const started = performance.now();
      const made =
        from === undefined ? await draw(values, reporter, io) : await convert({ ...values, from }, reporter, io);
      const seconds = (performance.now() - started) / 1000;
      reporter.done(`${output}: ${counted(made.rows, "pair")} in ${seconds.toFixed(1)} s`, {
        output,
        format,
        ...made,
        seconds: rounded(seconds),
      });
    },
  );
  return 0;
}

async function draw(values: MakeDatasetValues, reporter: PairsReporter, { signal }: CommandIo): Promise<Made> {
  const { count = 0, seed = 0, size = 64, format, output } = values;
  const families = namedFamilies(values.families);
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

/** Skipped rows that are named; further ones are only counted. */
const ROWS_NAMED = 20;

async function convert(
  values: MakeDatasetValues & { from: string },
  reporter: PairsReporter,
  { signal }: CommandIo,
): Promise<Made> {
  const { from, output, format, count, originalImageColumn, editedImageColumn, editPromptColumn, skipUnusable } =
    values;
  let skipped = 0;
  const made = await convertDataset({
    ...{ from, output, format, count, originalImageColumn, editedImageColumn, editPromptColumn, skipUnusable, signal },
    onSkip: (reason) => {
      if (++skipped <= ROWS_NAMED) reporter.warning(`row skipped: ${reason}`);
    },
    onProgress: (done, total) => reporter.progress(done, total),
  });
  const leftOut = describeLeftOut(made);
  if (leftOut !== undefined) reporter.warning(leftOut);
  return { rows: made.rows, from, skipped_rows: made.skippedRows, left_out_columns: made.leftOutColumns };
}

/** @throws `ERR_USAGE` for a name that no family has */
function namedFamilies(names: string | undefined): readonly EditFamily[] | undefined {
  return names?.split(",").map((name) => {
    const family = EDIT_FAMILIES.find((family) => family === name.trim());
    if (!family)
      throw new InstructPix2PixError(
        "ERR_USAGE",
        `unknown family of edits ${JSON.stringify(name.trim())}; known: ${EDIT_FAMILIES.join(", ")}`,
      );
    return family;
  });
}

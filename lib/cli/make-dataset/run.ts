import { InstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import type { EditWriter } from "../../data/write/edit-writer.js";
import { ImageFolderWriter } from "../../data/write/image-folder-writer.js";
import { makeFolder } from "../../data/write/new-folder.js";
import { ParquetEditWriter } from "../../data/write/parquet-writer.js";
import { EDIT_FAMILIES, type EditFamily } from "../../world/edit.js";
import { worldRows } from "../../world/rows.js";
import type { CommandIo } from "../command.js";
import type { MakeDatasetValues } from "./options.js";
import { createMakeDatasetReporter } from "./reporter.js";

const WRITERS: Record<MakeDatasetValues["format"], { create(folder: string): Promise<EditWriter> }> = {
  imagefolder: ImageFolderWriter,
  parquet: ParquetEditWriter,
};

/** Runs `ip2p make-dataset`. */
export async function runMakeDataset(values: MakeDatasetValues, io: CommandIo): Promise<number> {
  const reporter = createMakeDatasetReporter(values, io);
  try {
    const { world, count, seed, size, format, output } = values;
    if (!world) throw new InstructPix2PixError("ERR_USAGE", "give the source of the data set: --world");
    const families = namedFamilies(values.families);
    const started = performance.now();
    await makeFolder(output, async (folder) => {
      await using writer = await WRITERS[format].create(folder);
      let done = 0;
      for await (const row of worldRows(seed, count, size, families)) {
        throwIfAborted(io.signal);
        await writer.write(row);
        reporter.progress(++done, count);
      }
      await writer.finish();
    });
    reporter.done({ output, format, rows: count, seed, size, seconds: (performance.now() - started) / 1000 });
    return 0;
  } catch (error) {
    reporter.failed(error);
    throw error;
  } finally {
    reporter.stop();
  }
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

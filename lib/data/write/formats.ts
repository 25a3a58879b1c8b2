import type { EditWriter } from "./edit-writer.js";
import { ImageFolderWriter } from "./image-folder-writer.js";
import { ParquetEditWriter } from "./parquet-writer.js";

/** The layouts that a data set can be written in. */
export const DATASET_FORMATS = ["folder", "parquet"] as const;
export type DatasetFormat = (typeof DATASET_FORMATS)[number];

/** Writes into an empty folder, in one of the layouts. */
export function createEditWriter(format: DatasetFormat, folder: string): Promise<EditWriter> {
  return format === "folder" ? ImageFolderWriter.create(folder) : ParquetEditWriter.create(folder);
}

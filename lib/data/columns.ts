import { quote } from "../core/quote.js";
import type { EditColumns } from "./dataset.js";
import { datasetError, listOf } from "./errors.js";

/** The option that names each column, for messages. */
const OPTIONS: Record<keyof EditColumns, string> = {
  original: "originalImageColumn",
  edited: "editedImageColumn",
  prompt: "editPromptColumn",
};

/** The error for a missing column. */
export function missingColumn(role: keyof EditColumns, name: string, columns: readonly string[], where: string) {
  return datasetError(
    `${where} has no column ${quote(name)}; set ${OPTIONS[role]} to one of those it has: ${listOf(columns, 50)}`,
  );
}

/** The error for a column of the wrong type. */
export function unusableColumn(role: keyof EditColumns, name: string, where: string) {
  const expected =
    role === "prompt" ? "text" : "images: neither paths, nor encoded bytes, nor the library's struct of both";
  return datasetError(`${where}: the column ${quote(name)} (${OPTIONS[role]}) does not hold ${expected}`);
}

/** Metadata keys that may hold an image's path: with the suffix of the `datasets` library, or the plain name. */
export function pictureKeys(column: string): string[] {
  return [...(column === "image" ? ["file_name", "_file_name"] : []), `${column}_file_name`, column];
}

/** The column that the `datasets` library derives from a metadata key. */
export function columnOfKey(key: string): string {
  if (key === "file_name") return "image";
  return key.endsWith("_file_name") ? key.slice(0, -"_file_name".length) || "image" : key;
}

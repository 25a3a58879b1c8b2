import { stat } from "node:fs/promises";

/** Whether a path leads, links followed, to a regular file. */
export async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

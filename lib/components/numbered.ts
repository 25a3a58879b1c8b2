import { join } from "node:path";
import { isFile } from "../files/is-file.js";
import { MODEL_CONFIG } from "../models/format.js";

/** The folders of a list of models, as diffusers has them: "controlnet", "controlnet_1", "controlnet_2". */
export function numbered(folder: string, place: number): string {
  return place === 0 ? folder : `${folder}_${place}`;
}

/** Those that exist, as far as their numbers follow one another; at least the first. */
export async function numberedFolders(first: string): Promise<string[]> {
  const folders = [first];
  while (await isFile(join(numbered(first, folders.length), MODEL_CONFIG)))
    folders.push(numbered(first, folders.length));
  return folders;
}

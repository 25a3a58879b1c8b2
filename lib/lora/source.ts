import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { isFile } from "../files/is-file.js";
import { type ResolveOptions, resolvePretrained } from "../hub/index.js";
import { isPickle } from "../models/weight-names.js";

/** The name under which diffusers saves adapters. */
export const LORA_FILE = "pytorch_lora_weights.safetensors";

/** Where an adapter's file is. */
export interface LoraSourceOptions
  extends Pick<ResolveOptions, "revision" | "cacheDir" | "token" | "localFilesOnly" | "signal"> {
  /** The file's name in a folder or repository. Default `pytorch_lora_weights.safetensors`, or the only safetensors file of a folder. */
  weightName?: string;
  /** A folder in the folder or repository. */
  subfolder?: string;
}

/**
 * The path of an adapter's file: a file itself, one in a folder, or one of a repository of the Hugging Face hub.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_HUB`, `ERR_SAFETENSORS` for pickles, `ERR_INVALID_ARGUMENT` if several files come into question
 */
export async function findLora(source: string, options: LoraSourceOptions): Promise<string> {
  if (typeof source !== "string" || source === "")
    throw invalid(
      "the adapter must be a safetensors file, a folder, or the id of a repository on the Hugging Face hub",
    );
  for (const name of ["weightName", "subfolder"] as const)
    if (options[name] !== undefined && (typeof options[name] !== "string" || !isInside(options[name])))
      throw invalid(`${name} must be a path inside the folder or repository`);
  if (isPickle(source) || isPickle(options.weightName ?? ""))
    throw new InstructPix2PixError(
      "ERR_SAFETENSORS",
      `${options.weightName ?? source}: is a pickle, which can run code and is never read; save the adapter as safetensors`,
    );
  if (await isFile(source)) return source;
  const { weightName, subfolder = "", ...hub } = options;
  const wanted = join(subfolder, weightName ?? LORA_FILE);
  const folder = await resolvePretrained(source, { ...hub, allowPatterns: [wanted.replaceAll("\\", "/")] });
  const path = join(folder, wanted);
  if (weightName !== undefined || (await isFile(path))) return path; // a missing one is named by whatever reads it
  return join(folder, subfolder, await onlyFile(join(folder, subfolder)));
}

async function onlyFile(folder: string): Promise<string> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".safetensors")).sort();
  if (names.length === 1) return names[0]!;
  if (names.length === 0)
    throw new InstructPix2PixError(
      "ERR_FILE_NOT_FOUND",
      `${folder}: holds no ${LORA_FILE}; name the file by weightName`,
    );
  throw invalid(`${folder}: holds several files, name one by weightName: ${names.slice(0, 5).map(quote).join(", ")}`);
}

function isInside(path: string): boolean {
  return path !== "" && !/^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)|\0/.test(path);
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}

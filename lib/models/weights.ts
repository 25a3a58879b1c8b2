import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { allInOrder } from "../core/settled.js";
import { show } from "../files/config.js";
import { fileError } from "../files/text-file.js";
import { readWeightIndex, type WeightIndex } from "./weight-index.js";
import {
  HOW_TO_CONVERT,
  isPickle,
  isWeightIndex,
  variantsAmong,
  type WeightBaseName,
  weightFileNames,
} from "./weight-names.js";

export interface WeightsOptions {
  baseName: WeightBaseName;
  /** Reads `*.VARIANT.safetensors` (or the index of that variant) instead. */
  variant?: string | undefined;
}

export interface ResolvedWeights {
  /** Paths of the model's safetensors files, all of which exist. */
  files: string[];
  /** The index, if the weights are sharded. */
  index?: WeightIndex;
}

/**
 * Finds the weights of a model's folder as diffusers and transformers do: one file or shards with an index, of the
 * variant asked for and no other. If both exist, diffusers' models use the shards and transformers' the file.
 *
 * Files may be symbolic links within the folder or, as in the Hugging Face cache, to a repository's `blobs`; others are
 * refused.
 *
 * @throws `ERR_FILE_NOT_FOUND` (no folder, no weights, a shard that is listed but absent, a missing variant; the
 * existing ones are named), `ERR_SAFETENSORS` (a bad index; weights in pickle files only, which are never
 *   read), `ERR_INVALID_ARGUMENT`, `ERR_IO`
 */
export async function resolveWeights(folder: string, options: WeightsOptions): Promise<ResolvedWeights> {
  const { baseName, variant } = options;
  if (variant !== undefined && (typeof variant !== "string" || !/^\w[\w.-]*$/.test(variant)))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `variant ${show(variant)} is not a name like "fp16"`);
  const present = await listFolder(folder);
  const name = weightFileNames(baseName, variant).find((candidate) => present.includes(candidate));
  if (name === undefined) throw nothingFound(folder, present, options);
  const path = await checkedFile(folder, name);
  if (!isWeightIndex(name)) return { files: [path] };
  const index = await readWeightIndex(path);
  const files: string[] = [];
  for (const shard of index.shards) files.push(await checkedFile(folder, shard, index.path));
  return { files, index };
}

/** Bytes of a model's weights. Throws as {@link resolveWeights}. */
export async function weightBytes(folder: string, options: WeightsOptions): Promise<number> {
  const { files } = await resolveWeights(folder, options);
  const sizes = await allInOrder(files.map(async (file) => (await stat(file)).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The variants of which a folder holds weights or an index, sorted. */
export async function listVariants(folder: string, baseName: WeightsOptions["baseName"]): Promise<string[]> {
  return variantsAmong(await listFolder(folder), baseName);
}

async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR")
      throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `${folder}: is not a folder`, { cause: error });
    throw fileError(folder, error);
  }
}

/** A blob in a Hugging Face cache. */
const CACHE_BLOB = /[/\\]models--[^/\\]+[/\\]blobs[/\\][^/\\]+$/;

/** The checked path of a file of the folder: a regular file in an allowed location. */
async function checkedFile(folder: string, name: string, listedIn?: string): Promise<string> {
  const path = join(folder, name);
  let target: string;
  try {
    target = await realpath(path);
    const inside = `${await realpath(folder)}${sep}`;
    if (!target.startsWith(inside) && !CACHE_BLOB.test(target))
      throw new InstructPix2PixError(
        "ERR_SAFETENSORS",
        `${path}: is a symbolic link to ${JSON.stringify(target)}, outside its folder; only links into a Hugging Face cache are followed`,
      );
    if (!(await stat(target)).isFile()) throw new InstructPix2PixError("ERR_IO", `${path}: is not a regular file`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw fileError(path, error);
    const link = await readlink(path).catch(() => undefined);
    const why =
      link !== undefined
        ? `is a symbolic link to ${JSON.stringify(link)}, which is absent: was its download interrupted?`
        : `is absent, though listed in ${listedIn}`;
    throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `${path}: ${why}`, { cause: error });
  }
  return path;
}

/** The error for missing weights, which names what the folder holds instead. */
function nothingFound(folder: string, present: readonly string[], options: WeightsOptions): InstructPix2PixError {
  const { baseName, variant } = options;
  const variants = variantsAmong(present, baseName);
  const plain = weightFileNames(baseName).some((name) => present.includes(name));
  const notFound = (what: string) => new InstructPix2PixError("ERR_FILE_NOT_FOUND", `${folder}: ${what}`);

  if (variant !== undefined && (plain || variants.length > 0)) {
    const choice = [...variants.map((name) => `"${name}"`), ...(plain ? ["none (leave the variant out)"] : [])];
    return notFound(`holds no weights of variant "${variant}"; present: ${choice.join(", ")}`);
  }
  if (variants.length > 0)
    return notFound(`holds weights only as variant ${variants.map((name) => `"${name}"`).join(", ")}; ask for one`);

  const pickles = present.filter(isPickle);
  const foreign = present.filter((name) => /\.(?:msgpack|h5|onnx|gguf|flashpack)$/.test(name));
  if (pickles.length > 0 || foreign.length > 0) {
    const pickled = pickles.length > 0 ? "; pickle files can run code and are never read" : "";
    return new InstructPix2PixError(
      "ERR_SAFETENSORS",
      `${folder}: holds no safetensors weights, only ${listed([...pickles, ...foreign])}${pickled}. ${HOW_TO_CONVERT}`,
    );
  }
  const others = present.filter((name) => name.endsWith(".safetensors"));
  return notFound(
    `holds neither ${baseName}.safetensors nor ${baseName}.safetensors.index.json` +
      (others.length > 0 ? `, though ${listed(others)}` : ""),
  );
}

function listed(names: readonly string[]): string {
  const shown = [...names].sort().slice(0, 3).map(show).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}

import { InstructPix2PixError } from "../core/errors.js";
import { isObject, parseObject, show } from "../files/config.js";
import { readTextFile } from "../files/text-file.js";

/** Far above the index of any model: about 500,000 tensors. */
const MAX_BYTES = 64 * 2 ** 20;

/** The content of `*.safetensors.index.json`: the file of each tensor. */
export interface WeightIndex {
  /** The index file. */
  path: string;
  /** Tensor name → name of a file in the same folder. */
  weightMap: ReadonlyMap<string, string>;
  /** The files named, each once, sorted. */
  shards: readonly string[];
}

/**
 * Reads and checks an index. It is untrusted: a shard must be a plain file name.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_IO`, `ERR_SAFETENSORS`
 */
export async function readWeightIndex(path: string): Promise<WeightIndex> {
  return parseWeightIndex(await readTextFile(path, { maxBytes: MAX_BYTES, code: "ERR_SAFETENSORS" }), path);
}

/** As {@link readWeightIndex}, from its text. */
export function parseWeightIndex(text: string, path: string): WeightIndex {
  const fail = (what: string) => new InstructPix2PixError("ERR_SAFETENSORS", `${path}: ${what}`);
  const { weight_map: map, metadata } = parseObject(text, path, "ERR_SAFETENSORS");
  if (!isObject(map)) throw fail('"weight_map" must map tensor names to file names');
  // The metadata's total_size is ignored: in published indices it is often that of another type.
  if (metadata !== undefined && metadata !== null && !isObject(metadata)) throw fail('"metadata" must be an object');
  const weightMap = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== "string") throw fail(`tensor ${show(tensor)} is in ${show(shard)}, which is not a file name`);
    const problem = shardProblem(shard);
    if (problem) throw fail(`tensor ${show(tensor)} is in ${show(shard)}, which ${problem}`);
    weightMap.set(tensor, shard);
  }
  if (weightMap.size === 0) throw fail('"weight_map" names no tensor');
  return { path, weightMap, shards: [...new Set(weightMap.values())].sort() };
}

/** The reason why a name cannot be a shard's. The rules of POSIX and Windows apply everywhere, so that a model works on both. */
function shardProblem(name: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a file name must not hold
  if (/[/\\:\u0000-\u001f\u007f]/.test(name)) return "is not a plain file name in the same folder";
  if (!name.endsWith(".safetensors") || name.length > 255) return "is not the name of a safetensors file";
  return undefined;
}

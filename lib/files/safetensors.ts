import { toUSVString } from "node:util";
import { InstructPix2PixError } from "../core/errors.js";
import { handleOf, Tensor } from "../core/tensor.js";
import { native } from "../runtime/native.js";

/**
 * Reads a safetensors file.
 *
 * @returns a plain object (without prototype), tensor name → {@link Tensor} on the CPU, in the file's own types
 * @throws `ERR_SAFETENSORS` for a malformed file, `ERR_FILE_NOT_FOUND`, `ERR_IO`
 *
 * @example
 * ```js
 * import { loadSafetensors } from "instruct-pix2pix";
 *
 * const tensors = await loadSafetensors("style.safetensors");
 * for (const [name, tensor] of Object.entries(tensors)) console.log(name, tensor.shape, tensor.dtype);
 * ```
 */
export async function loadSafetensors(path: string): Promise<Record<string, Tensor>> {
  return (await loadSafetensorsWithMetadata(path)).tensors;
}

/**
 * As {@link loadSafetensors}, with the file's `__metadata__` (`null` if it has none).
 *
 * @example
 * ```js
 * import { loadSafetensorsWithMetadata } from "instruct-pix2pix";
 *
 * const { tensors, metadata } = await loadSafetensorsWithMetadata("style.safetensors");
 * console.log(Object.keys(tensors).length, metadata?.format);
 * ```
 */
export async function loadSafetensorsWithMetadata(
  path: string,
): Promise<{ tensors: Record<string, Tensor>; metadata: Record<string, string> | null }> {
  const { names, tensors, metadata } = await native().readSafetensors(path);
  const result: Record<string, Tensor> = Object.create(null);
  names.forEach((name, i) => {
    result[name] = new Tensor(tensors[i]!);
  });
  return { tensors: result, metadata: metadata && Object.assign(Object.create(null), Object.fromEntries(metadata)) };
}

/** A tensor of a file, by the file's header. */
export interface StoredTensor {
  /** The format's name of the type: "F32", "F16", "BF16", ... */
  dtype: string;
  shape: readonly number[];
}

/**
 * Reads which tensors a safetensors file holds, and none of their values.
 *
 * @throws as {@link loadSafetensors}
 */
export async function readSafetensorsHeader(path: string): Promise<Map<string, StoredTensor>> {
  const { names, dtypes, shapes } = await native().readSafetensorsHeader(path);
  return new Map(names.map((name, i) => [name, { dtype: dtypes[i]!, shape: shapes[i]! }]));
}

/**
 * Writes a safetensors file, byte for byte what Python's `safetensors` writes. The write is atomic: the path holds
 * either its old content or the complete new file.
 *
 * @throws `ERR_IO` (disk full, no permission, no such folder: nothing is left behind), `ERR_SAFETENSORS`
 *
 * @example
 * ```js
 * import { loadSafetensors, saveSafetensors, Tensor } from "instruct-pix2pix";
 *
 * await saveSafetensors("numbers.safetensors", { numbers: Tensor.from([1, 2, 3]) });
 * const { numbers } = await loadSafetensors("numbers.safetensors");
 * console.log(await numbers?.toArray());
 * ```
 */
export async function saveSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  if (typeof tensors !== "object" || tensors === null)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "tensors must be an object of tensors by name");
  if (Object.values(metadata ?? {}).some((text) => typeof text !== "string"))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "metadata must be texts by name");
  const names = Object.keys(tensors);
  const malformed = [...names, ...Object.entries(metadata ?? {}).flat()].find((text) => toUSVString(text) !== text);
  if (malformed !== undefined)
    throw new InstructPix2PixError(
      "ERR_SAFETENSORS",
      `${path}: ${JSON.stringify(malformed)} is not well-formed Unicode`,
    );
  await native().writeSafetensors(
    path,
    names,
    names.map((name) => handleOf(tensors[name]!, `tensor ${JSON.stringify(name)}`)),
    metadata ?? null,
  );
}

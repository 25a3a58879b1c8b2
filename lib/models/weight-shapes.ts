import { open } from "node:fs/promises";
import { InstructPix2PixError } from "../core/errors.js";
import { isObject, parseObject, show } from "../files/config.js";
import { fileError } from "../files/text-file.js";
import { readFully } from "../files/whole-io.js";
import { resolveWeights, type WeightsOptions } from "./weights.js";

/** The format's own limit on a header. */
const MAX_HEADER_BYTES = 100_000_000;
/** A header's length precedes it. */
const LENGTH_BYTES = 8;

/**
 * The shapes of a model's weights, from the headers of its files: the weights themselves are not read.
 *
 * @returns shapes by tensor names
 * @throws as {@link resolveWeights}; `ERR_SAFETENSORS` for a malformed header
 */
export async function readWeightShapes(folder: string, options: WeightsOptions): Promise<Map<string, number[]>> {
  const { files } = await resolveWeights(folder, options);
  const shapes = new Map<string, number[]>();
  for (const path of files) {
    const { __metadata__: _, ...tensors } = await readHeader(path);
    for (const [name, tensor] of Object.entries(tensors)) {
      const shape = isObject(tensor) ? tensor.shape : undefined;
      if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= 0))
        throw new InstructPix2PixError("ERR_SAFETENSORS", `${path}: tensor ${show(name)} has no valid shape`);
      shapes.set(name, shape);
    }
  }
  return shapes;
}

async function readHeader(path: string): Promise<Record<string, unknown>> {
  try {
    const file = await open(path);
    try {
      const start = Buffer.alloc(LENGTH_BYTES);
      await readFully(file, start, 0, path);
      const length = start.readBigUInt64LE();
      if (length > Math.min(MAX_HEADER_BYTES, (await file.stat()).size - LENGTH_BYTES))
        throw new InstructPix2PixError("ERR_SAFETENSORS", `${path}: its header does not fit the file`);
      const header = Buffer.alloc(Number(length));
      await readFully(file, header, LENGTH_BYTES, path);
      return parseObject(header.toString(), path, "ERR_SAFETENSORS");
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError(path, error);
  }
}

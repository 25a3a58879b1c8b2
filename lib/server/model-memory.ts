import { PretrainedModel } from "../models/pretrained.js";
import { native } from "../runtime/native.js";
import type { ImagePipeline } from "./models.js";

const BYTES: Readonly<Record<string, number>> = { float32: 4, float16: 2, bfloat16: 2 };

/** Bytes of a pipeline's weights. Those in 8 bits are counted in the type that they are computed in: an upper bound. */
export async function weightBytes(pipeline: ImagePipeline): Promise<number> {
  const { components = {} } = pipeline as { components?: Record<string, unknown> };
  let bytes = 0;
  for (const model of new Set(Object.values(components).flat()))
    if (model instanceof PretrainedModel) {
      const shapes = Object.values(await native().modelParameterShapes(model.handle));
      const numbers = shapes.reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 1), 0);
      bytes += numbers * (BYTES[model.dtype] ?? 4);
    }
  return bytes;
}

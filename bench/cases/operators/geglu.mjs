import { Tensor } from "../../../dist/core/tensor.js";
import { elementSize } from "./operator.mjs";

export const description = "a · gelu(b), the gate of a transformer's feed-forward";

/** Stable Diffusion 1.5 on three rows, 512². */
const SHAPES = [
  [3, 4096, 2560],
  [3, 1024, 5120],
  [3, 256, 10240],
  [3, 64, 10240],
];

export function* cases() {
  for (const dtype of ["float32", "bfloat16"])
    for (const shape of SHAPES) {
      const elements = shape.reduce((a, b) => a * b);
      yield {
        name: `geglu ${dtype} [${shape}]`,
        operator: "geglu",
        plainOperator: "geglu_plain",
        numbers: [],
        tensors: async () => [await (await Tensor.randn(shape)).to({ dtype })],
        gradient: (output) => Tensor.randnLike(output),
        // Forward reads two halves and writes one; backward also reads the output's gradient, and writes both halves.
        bytes: { forward: 1.5 * elements * elementSize(dtype), backward: 2.5 * elements * elementSize(dtype) },
      };
    }
}

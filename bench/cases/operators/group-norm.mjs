import { Tensor } from "../../../dist/core/tensor.js";
import { elementSize, inLayout } from "./operator.mjs";

export const description = "silu(group_norm(x + shift)), the norm before the second convolution of a residual block";

/** Stable Diffusion 1.5 on three rows, 512². */
const SHAPES = [
  [3, 320, 64, 64],
  [3, 960, 64, 64],
  [3, 640, 32, 32],
  [3, 1280, 16, 16],
  [3, 2560, 8, 8],
  [3, 320, 32, 32],
  [3, 1280, 8, 8],
];

/**
 * A measurement: a name, the tensors, the operator and its plain counterpart, and the minimum memory traffic in bytes:
 * forward reads and writes every element once, backward reads two and writes one.
 */
export function* cases() {
  for (const dtype of ["float32", "bfloat16"])
    for (const layout of ["channels-last", "contiguous"])
      for (const shape of SHAPES) {
        const [B, C] = shape;
        const elements = shape.reduce((a, b) => a * b);
        yield {
          name: `group norm ${dtype} ${layout} [${shape}]`,
          operator: "group_norm_silu_shift",
          plainOperator: "group_norm_silu_shift_plain",
          numbers: [32, 1e-5],
          async tensors() {
            const random = async (size) => (await Tensor.randn(size)).to({ dtype });
            const x = await inLayout(await random(shape), layout);
            return [x, await random([C]), await random([C]), await random([B, C])];
          },
          gradient: async (output) => inLayout(await Tensor.randnLike(output), layout),
          bytes: { forward: 2 * elements * elementSize(dtype), backward: 3 * elements * elementSize(dtype) },
        };
      }
}

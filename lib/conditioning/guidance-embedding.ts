import { Tensor } from "../core/tensor.js";
import { exp32, f32, log32 } from "../schedulers/float32.js";

/**
 * The scale of guidance as an input of UNets that were distilled with it (Meng et al. 2023, https://arxiv.org/abs/2210.03142): sines and
 * cosines of 1000·(s − 1).
 *
 * @returns float32 [1,width]
 */
export function embedGuidanceScale(scale: number, width: number): Tensor {
  const half = Math.floor(width / 2);
  const position = f32(f32(scale - 1) * 1000);
  const step = f32(log32(10_000) / (half - 1));
  const angles = Float32Array.from({ length: half }, (_, i) => position * exp32(f32(i * -step)));
  const values = new Float32Array(width);
  values.set(angles.map(Math.sin));
  values.set(angles.map(Math.cos), half);
  return Tensor.from(values, [1, width]);
}

import type { Tensor } from "../core/tensor.js";
import { derivative } from "./derivative.js";
import { drawNoise, type Expression, evaluate, withTemporaries } from "./expression.js";
import { f32, sqrt32 } from "./float32.js";
import { numberOption, type StepOptions, type StepOutput } from "./options.js";

/** A step of Euler's method from one noise level to the next. */
export interface EulerStep {
  className: string;
  modelOutput: Tensor;
  timestep: number;
  sample: Tensor;
  /** The current level and the next. */
  levels: readonly [number, number];
  /** Steps of the run. */
  count: number;
  options: StepOptions;
  /**
   * The prediction of x_0, float32.
   *
   * @param start the sample, with the noise that raises it to `raised`
   */
  denoise: (start: Tensor, raised: number) => Promise<Tensor>;
}

/**
 * Moves along the probability flow by its slope, after noise that `sChurn` asks for (Karras et al. 2022, "Elucidating the
 * Design Space of Diffusion-Based Generative Models", algorithm 2 without its second-order correction).
 */
export async function eulerStep(step: EulerStep): Promise<StepOutput> {
  const { className, modelOutput, timestep, sample, levels, count, options, denoise } = step;
  const [sigma, next] = levels;
  const churn = numberOption(className, "sChurn", options.sChurn, 0);
  const noiseScale = numberOption(className, "sNoise", options.sNoise, 1);
  const from = numberOption(className, "sTmin", options.sTmin, 0);
  const to = numberOption(className, "sTmax", options.sTmax, Infinity);
  const inRange = from <= sigma && sigma <= to;
  const gamma = inRange ? Math.min(churn / count, Math.SQRT2 - 1) : 0;
  const sigmaHat = gamma > 0 ? f32(sigma * f32(gamma + 1)) : sigma;
  const dtype = modelOutput.dtype;
  return await withTemporaries(async (own) => {
    let start = sample;
    if (gamma > 0) {
      const raised = sqrt32(f32(f32(sigmaHat * sigmaHat) - f32(sigma * sigma)));
      const churned: Expression = [
        [1, sample],
        [noiseScale * raised, await own(drawNoise(modelOutput, options))],
      ];
      start = await own(evaluate(churned, "float32", className));
    }
    const original = await own(denoise(start, sigmaHat));
    const slope = await own(derivative(start, original, sigmaHat, "float32"));
    const update: Expression = [
      [1, start],
      [f32(next - sigmaHat), slope],
    ];
    const prevSample = await evaluate(update, dtype, `${className} at timestep ${timestep}`);
    return options.predOriginalSample
      ? { prevSample, predOriginalSample: await original.to({ dtype }) }
      : { prevSample };
  });
}

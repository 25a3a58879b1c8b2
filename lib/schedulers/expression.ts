import { InstructPix2PixError } from "../core/errors.js";
import { Tensor } from "../core/tensor.js";
import type { StepOptions } from "./options.js";

/**
 * A sum of tensors with coefficients. Updates are written as expressions so that a whole step is one native call: the
 * coefficients multiply out in float64 here, the tensors are touched once.
 */
export type Expression = readonly (readonly [coefficient: number, tensor: Tensor])[];

export const scaled = (factor: number, expression: Expression): Expression =>
  expression.map(([coefficient, tensor]) => [factor * coefficient, tensor]);

export const sum = (...expressions: Expression[]): Expression => expressions.flat();

/** The same tensor named twice becomes one term; a term with coefficient 0 goes, even where it holds infinities. */
function simplified(expression: Expression): [number, Tensor][] {
  const terms = new Map<Tensor, number>();
  for (const [coefficient, tensor] of expression) terms.set(tensor, (terms.get(tensor) ?? 0) + coefficient);
  const all = [...terms].map(([tensor, coefficient]): [number, Tensor] => [coefficient, tensor]);
  const used = all.filter(([coefficient]) => coefficient !== 0);
  return used.length > 0 ? used : all.slice(0, 1);
}

/**
 * Evaluates in float32 (float64 for float64 tensors) and rounds once, to `dtype`. Throws `ERR_NOT_FINITE`, with `where`
 * in the message, if a coefficient is not finite.
 */
export async function evaluate(expression: Expression, dtype: Tensor["dtype"], where: string): Promise<Tensor> {
  const terms = simplified(expression);
  if (terms.some(([coefficient]) => !Number.isFinite(coefficient)))
    throw new InstructPix2PixError(
      "ERR_NOT_FINITE",
      `${where}: the update has no finite coefficients; this configuration cannot take this step`,
    );
  return Tensor.linearCombination(terms, { dtype });
}

/** Another handle on the same values: tensors are immutable, and the caller may dispose its own. */
export const retain = (tensor: Tensor): Promise<Tensor> => tensor.reshape([...tensor.shape]);

/** Runs `work` and then disposes every tensor passed to `own`, also on errors. */
export async function withTemporaries<T>(
  work: (own: (tensor: Promise<Tensor>) => Promise<Tensor>) => Promise<T>,
): Promise<T> {
  const temporaries: Tensor[] = [];
  try {
    return await work(async (promise) => {
      const tensor = await promise;
      temporaries.push(tensor);
      return tensor;
    });
  } finally {
    for (const tensor of temporaries) tensor.dispose();
  }
}

/** Gaussian noise as in diffusers: shape, device and (by default) dtype of `like`. */
export const drawNoise = (like: Tensor, options: StepOptions, dtype = like.dtype): Promise<Tensor> =>
  Tensor.randn([...like.shape], { generator: options.generator, dtype, device: like.device });

import { InstructPix2PixError } from "../core/errors.js";
import { Tensor } from "../core/tensor.js";

/** One timestep for each row of a tensor of shape [B, …]; a single one applies to all. */
export function timestepsPerRow(className: string, timesteps: readonly number[], { shape }: Tensor): number[] {
  const rows = shape[0] ?? 1;
  if (timesteps.length === 1) return Array.from({ length: rows }, () => timesteps[0]!);
  if (timesteps.length === rows) return [...timesteps];
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `${className}: ${timesteps.length} timesteps for a batch of ${rows}; give one for each row, or one for all`,
  );
}

/** Σ cᵢ·tᵢ with a coefficient per row. */
export function combineRows(...terms: [coefficients: number[], tensor: Tensor][]): Promise<Tensor> {
  const uniform = terms.every(([coefficients]) => coefficients.every((value) => value === coefficients[0]));
  if (!uniform) return Tensor.linearCombinationRows(terms);
  return Tensor.linearCombination(terms.map(([coefficients, tensor]) => [coefficients[0] ?? 0, tensor]));
}

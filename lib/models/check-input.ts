import { InstructPix2PixError } from "../core/errors.js";
import { handleOf, type Tensor } from "../core/tensor.js";
import { checkFloat } from "../core/tensor-checks.js";
import type { NativeTensor } from "../runtime/contract/index.js";

/**
 * The handle of a tensor that a model computes with.
 *
 * @param name of the argument
 * @param layout its dimensions, "[B,C,H,W]"
 * @param expected the size of one of these dimensions, and what it is called
 * @throws `ERR_INVALID_ARGUMENT` naming the argument, for other dimensions, another size and whole numbers
 */
export function modelInput(
  tensor: Tensor,
  name: string,
  layout: string,
  { axis, size, unit }: { axis: number; size: number; unit: string },
): NativeTensor {
  const handle = handleOf(tensor, name);
  const { shape } = tensor;
  const rank = layout.split(",").length;
  if (shape.length !== rank) refuse(`${name} must be ${layout}, not [${shape}]`);
  if (shape[axis] !== size) refuse(`${name} needs ${size} ${unit}, has ${shape[axis]}`);
  if (shape.includes(0)) refuse(`${name} is empty: [${shape}]`);
  checkFloat(name, tensor.dtype);
  return handle;
}

/** Checks that an image's height and width are multiples of an autoencoder's factor. */
export function checkMultiple({ shape }: Tensor, name: string, factor: number): void {
  const [, , height, width] = shape;
  if (height! % factor !== 0 || width! % factor !== 0)
    refuse(`${name} must have a height and a width that are multiples of ${factor}, not ${height} and ${width}`);
}

function refuse(problem: string): never {
  throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}

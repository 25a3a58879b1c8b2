import { Tensor } from "../../lib/core/tensor.js";
import { native } from "../../lib/runtime/native.js";

/** Calls an operator of the layers; with the gradient of its output, the gradients of its tensors come too. */
export async function callOperator(
  name: string,
  tensors: readonly Tensor[],
  numbers: readonly number[] = [],
  outputGradient?: Tensor,
): Promise<{ output: Tensor; gradients: Tensor[] }> {
  const handles = tensors.map(({ handle }) => handle);
  const results = await native().callOperator(name, handles, numbers, outputGradient?.handle ?? null);
  const [output, ...gradients] = results.map((handle) => new Tensor(handle));
  return { output: output!, gradients };
}

/** ‖a − b‖ / ‖b‖ */
export async function relativeError(a: Tensor, b: Tensor): Promise<number> {
  const [x, y] = [await a.toArray(), await b.toArray()];
  let [difference, size] = [0, 0];
  for (let i = 0; i < y.length; i++) {
    difference += (Number(x[i]) - Number(y[i])) ** 2;
    size += Number(y[i]) ** 2;
  }
  return Math.sqrt(difference / size);
}

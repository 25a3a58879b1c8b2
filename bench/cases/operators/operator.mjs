import { Tensor } from "../../../dist/core/tensor.js";
import { native } from "../../../dist/runtime/native.js";

export const elementSize = (dtype) => (dtype === "float32" ? 4 : 2);

/** Calls a layer operator by name: returns its output or, given the output's gradient, the gradients of the tensors. */
export async function call(name, tensors, numbers, gradient) {
  const handles = tensors.map(({ handle }) => handle);
  const results = await native().callOperator(name, handles, numbers, gradient?.handle ?? null);
  return results.map((handle) => new Tensor(handle));
}

/** A tensor [B,C,...] in one of the layouts "contiguous" and "channels-last". */
export async function inLayout(tensor, layout) {
  return layout === "contiguous" ? tensor : (await call("channels_last", [tensor], []))[0];
}

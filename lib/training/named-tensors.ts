import { InstructPix2PixError } from "../core/errors.js";
import { disposeAll, type Tensor } from "../core/tensor.js";
import { native } from "../runtime/native.js";

/**
 * Overwrites tensors with those of the same names, whose shapes and types must be the same.
 *
 * @param what for the message: "optimizer state"
 * @param isPart whether the targets are only some of what there is
 * @throws `ERR_CHECKPOINT` naming missing or unexpected tensors, `ERR_STATE_DICT`
 */
export async function restoreTensors(
  targets: Record<string, Tensor>,
  sources: Record<string, Tensor>,
  what: string,
  isPart = false,
): Promise<void> {
  const missing = Object.keys(targets).filter((name) => !Object.hasOwn(sources, name));
  const left = isPart ? [] : Object.keys(sources).filter((name) => !Object.hasOwn(targets, name));
  if (missing.length > 0 || left.length > 0)
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${what} does not fit the run: ${missing.length} tensors are missing${missing[0] ? ` (${missing[0]}, …)` : ""}, ${left.length} are unknown${left[0] ? ` (${left[0]}, …)` : ""}`,
    );
  const names = Object.keys(targets);
  await native().copyTensors(
    names.map((name) => targets[name]!.handle),
    names.map((name) => sources[name]!.handle),
  );
}

/** Disposes of every tensor of a record. */
export function disposeRecord(tensors: Record<string, Tensor>): void {
  disposeAll(...Object.values(tensors));
}

import { expect } from "vitest";
import type { PretrainedModel } from "../../lib/models/pretrained.js";
import { native } from "../../lib/runtime/native.js";

/** Expects two models to have the same weights, to the bit. */
export async function expectSameState(a: PretrainedModel<unknown>, b: PretrainedModel<unknown>): Promise<void> {
  const [left, right] = [await a.stateDict(), await b.stateDict()];
  expect(Object.keys(left)).toEqual(Object.keys(right));
  for (const [name, tensor] of Object.entries(left)) {
    expect([name, tensor.shape]).toEqual([name, right[name]!.shape]);
    expect([name, await native().equal(tensor.handle, right[name]!.handle)]).toEqual([name, true]);
  }
}

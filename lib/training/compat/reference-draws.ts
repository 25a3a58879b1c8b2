import type { Generator } from "../../core/generator.js";
import { disposeAll, Tensor } from "../../core/tensor.js";
import type { UNet2DConditionModel } from "../../models/unet_2d_condition.js";

/**
 * With EMA the reference creates a new UNet whenever it saves a checkpoint, which draws a uniform number for every
 * element of every convolution and linear layer from the global generator.
 */
export async function drawSaveLikeReference(unet: UNet2DConditionModel, generator: Generator): Promise<void> {
  const weights = await unet.stateDict();
  let count = 0;
  for (const [name, tensor] of Object.entries(weights)) if (!isNorm(name)) count += tensor.size;
  disposeAll(...Object.values(weights));
  (await Tensor.rand([count], { generator })).dispose();
}

/** Norms are initialised without draws. */
function isNorm(parameter: string): boolean {
  return parameter.split(".").some((part) => /norm/.test(part));
}

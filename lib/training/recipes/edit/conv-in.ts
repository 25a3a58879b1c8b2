import type { Generator } from "../../../core/generator.js";
import { Tensor } from "../../../core/tensor.js";
import type { UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import { native } from "../../../runtime/native.js";

/**
 * Makes the reference's random draws for widening the first convolution and, like the reference, keeps only the bias,
 * which replaces the trained one.
 */
export async function drawConvInLikeReference(unet: UNet2DConditionModel, generator: Generator): Promise<void> {
  const { in_channels: inChannels, conv_in_kernel: kernel, block_out_channels } = unet.config;
  const outChannels = block_out_channels[0]!;
  const fanIn = inChannels * kernel * kernel;
  (await Tensor.rand([outChannels * fanIn], { generator })).dispose();
  using uniform = await Tensor.rand([outChannels], { generator });
  const bound = 1 / Math.sqrt(fanIn);
  using spread = await uniform.mul(2 * bound);
  using bias = await spread.sub(bound);
  await native().setModelParameter(unet.handle, "conv_in.bias", bias.handle);
}

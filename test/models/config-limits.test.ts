import { expect, test } from "vitest";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";

const BILLION = 1e9;
const many = (item: unknown) => new Array(1000).fill(item);

test.each([
  ...["in_channels", "out_channels", "norm_num_groups", "layers_per_block", "transformer_layers_per_block"].map(
    (key) => [UNet2DConditionModel, key, BILLION] as const,
  ),
  ...["cross_attention_dim", "attention_head_dim", "time_embedding_dim", "conv_in_kernel", "downsample_padding"].map(
    (key) => [UNet2DConditionModel, key, BILLION] as const,
  ),
  [UNet2DConditionModel, "block_out_channels", [320, BILLION, 640, 640]],
  [UNet2DConditionModel, "block_out_channels", many(32)],
  [UNet2DConditionModel, "down_block_types", many("DownBlock2D")],
  [UNet2DConditionModel, "only_cross_attention", many(false)],
  [UNet2DConditionModel, "layers_per_block", [256, 256, 256, 256]],
  [UNet2DConditionModel, "reverse_transformer_layers_per_block", [1, 1, 1, BILLION]],
  ...["in_channels", "out_channels", "latent_channels", "layers_per_block", "norm_num_groups", "sample_size"].map(
    (key) => [AutoencoderKL, key, BILLION] as const,
  ),
  [AutoencoderKL, "block_out_channels", many(64)],
  ...["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "max_position_embeddings"].map(
    (key) => [CLIPTextModel, key, BILLION] as const,
  ),
  [CLIPTextModel, "num_attention_heads", BILLION],
] as const)("$0.name refuses an excessive $1 by name before it builds anything", async (model, key, value) => {
  const config = { [key]: value, ...(key === "layers_per_block" && { transformer_layers_per_block: 256 }) };
  await expect(model.fromConfig(config as never)).rejects.toMatchObject({
    code: "ERR_CONFIG",
    message: expect.stringMatching(new RegExp(`"${key}" is .*, expected .*\\d`)),
  });
});

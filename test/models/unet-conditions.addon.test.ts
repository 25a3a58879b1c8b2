import { afterAll, describe, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { type UNet2DConditionConfig, UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import type { UNetForwardOptions } from "../../lib/models/unet-conditions.js";
import { deviation } from "../helpers/compare.js";

const SMALL: Partial<UNet2DConditionConfig> = {
  in_channels: 4,
  norm_num_groups: 2,
  attention_head_dim: 2,
  cross_attention_dim: 6,
  block_out_channels: [4, 8],
  down_block_types: ["CrossAttnDownBlock2D", "DownBlock2D"],
  up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D"],
  layers_per_block: 1,
};
const TEXT_TIME: Partial<UNet2DConditionConfig> = {
  addition_embed_type: "text_time",
  addition_time_embed_dim: 2,
  projection_class_embeddings_input_dim: 5 + 6 * 2,
};
const open: UNet2DConditionModel[] = [];
afterAll(() => {
  for (const model of open) model.dispose();
});

async function unet(config: Partial<UNet2DConditionConfig> = {}): Promise<UNet2DConditionModel> {
  const model = await UNet2DConditionModel.fromConfig({ ...SMALL, ...config });
  open.push(model);
  return model;
}

const zeros = (...shape: number[]) => Tensor.zeros(shape);
const labels = (...values: number[]) => Tensor.from(BigInt64Array.from(values, BigInt), [values.length]);

async function pass(model: UNet2DConditionModel, options?: UNetForwardOptions): Promise<Tensor> {
  return model.forward(await zeros(2, 4, 8, 8), 1, await zeros(2, 3, 6), options);
}

describe("a condition that does not fit the model is refused by name", () => {
  const textTime = async (E = 5, K = 6, rows = 2) => ({
    addedConditions: { textEmbeds: await zeros(rows, E), timeIds: await zeros(rows, K) },
  });
  const residuals = async (count = 4) => ({
    downBlockAdditionalResiduals: await Promise.all(Array.from({ length: count }, () => zeros(1, 4, 8, 8))),
  });
  const mid = async () => ({ midBlockAdditionalResidual: await zeros(2, 8, 4, 4) });

  test.each<[string, Partial<UNet2DConditionConfig>, () => Promise<UNetForwardOptions>, RegExp]>([
    ["textEmbeds are missing", TEXT_TIME, async () => ({}), /textEmbeds is missing.*"text_time"/],
    [
      "timeIds are missing",
      TEXT_TIME,
      async () => ({ addedConditions: { textEmbeds: await zeros(2, 5) } }),
      /timeIds is missing/,
    ],
    ["textEmbeds are of no use", {}, () => textTime(), /textEmbeds is given.*addition_embed_type null/],
    [
      "imageEmbeds are of no use",
      {},
      async () => ({ addedConditions: { imageEmbeds: await zeros(2, 5) } }),
      /imageEmbeds is given/,
    ],
    ["textEmbeds are too wide", TEXT_TIME, () => textTime(6), /width 6 and 6 timeIds make 18 numbers.*takes 17/],
    ["timeIds are too few", TEXT_TIME, () => textTime(5, 5), /5 timeIds/],
    ["conditions have too many rows", TEXT_TIME, () => textTime(5, 6, 3), /textEmbeds has 3 rows for a batch of 2/],
    ["labels are missing", { num_class_embeds: 3 }, async () => ({}), /classLabels is missing.*num_class_embeds/],
    ["labels are of no use", {}, async () => ({ classLabels: labels(1, 2) }), /classLabels is given/],
    ["a label is too high", { num_class_embeds: 3 }, async () => ({ classLabels: labels(1, 3) }), /holds 3.*0\.\.2/],
    ["a label is negative", { num_class_embeds: 3 }, async () => ({ classLabels: labels(-1, 0) }), /holds -1/],
    ["labels are fractions", { num_class_embeds: 3 }, async () => ({ classLabels: await zeros(2) }), /whole numbers/],
    ["there are too many labels", { num_class_embeds: 3 }, async () => ({ classLabels: labels(0, 1, 2) }), /\[2\]/],
    [
      "labels have another width",
      { class_embed_type: "identity" },
      async () => ({ classLabels: await zeros(2, 15) }),
      /classLabels must be \[2,16\]/,
    ],
    ["the timestep takes none", {}, async () => ({ timestepCond: await zeros(2, 3) }), /timestepCond is given/],
    [
      "the timestep's has another width",
      { time_cond_proj_dim: 4 },
      async () => ({ timestepCond: await zeros(2, 3) }),
      /timestepCond must be \[2,4\]/,
    ],
    ["there is no residual of the middle", {}, () => residuals(), /midBlockAdditionalResidual is missing/],
    ["there are no residuals of skips", {}, () => mid(), /downBlockAdditionalResiduals is missing/],
    [
      "there are too few residuals",
      {},
      async () => ({ ...(await residuals(3)), ...(await mid()) }),
      /downBlockAdditionalResiduals must be 4 tensors, not 3/,
    ],
    [
      "a residual has another shape",
      {},
      async () => ({ ...(await residuals()), ...(await mid()) }),
      /downBlockAdditionalResiduals holds a tensor/,
    ],
    [
      "something else is given",
      TEXT_TIME,
      async () => ({ addedConditions: { textEmbeds: 7 as unknown as Tensor } }),
      /textEmbeds must be a Tensor, not 7/,
    ],
  ])("%s", async (_, config, options, message) => {
    const model = await unet(config);
    const refused = pass(model, await options());
    await expect(refused).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    await expect(refused).rejects.toThrow(message);
  });
});

test("a condition of one row is that of all", async () => {
  const model = await unet({ ...TEXT_TIME, num_class_embeds: 3 });
  const [text, time] = [await Tensor.randn([1, 5]), await Tensor.randn([1, 6])];
  using one = await pass(model, { addedConditions: { textEmbeds: text, timeIds: time }, classLabels: labels(2) });
  using all = await pass(model, {
    addedConditions: { textEmbeds: await text.repeat([2, 1]), timeIds: await time.repeat([2, 1]) },
    classLabels: labels(2, 2),
  });
  expect((await deviation(one, all)).relative).toBeLessThan(1e-5);
});

describe("a configuration is refused with key and value", () => {
  test.each<[object, RegExp]>([
    [{ down_block_types: ["DownBlock2D", "TeleportBlock2D"] }, /"down_block_types".*"TeleportBlock2D".*"DownBlock2D"/],
    [{ up_block_types: ["UpBlock2D", "DownBlock2D"] }, /"up_block_types".*"DownBlock2D".*"UpBlock2D"/],
    [{ mid_block_type: "DownBlock2D" }, /"mid_block_type".*"DownBlock2D".*"UNetMidBlock2DCrossAttn"/],
    [{ class_embed_type: "poem" }, /"class_embed_type" is "poem"/],
    [{ class_embed_type: "projection" }, /"projection_class_embeddings_input_dim" is null.*class_embed_type/],
    [{ addition_embed_type: "text_time" }, /"addition_time_embed_dim" is null/],
    [{ transformer_layers_per_block: [[1], [2]] }, /"reverse_transformer_layers_per_block" is null/],
    [
      { transformer_layers_per_block: [[1], 2], reverse_transformer_layers_per_block: [[1], [1, 2]] },
      /"reverse_transformer_layers_per_block".*2 numbers or one in entry 0/,
    ],
    [{ num_attention_heads: 4 }, /"num_attention_heads" is 4/],
  ])("%j", async (config, message) => {
    const refused = unet(config);
    await expect(refused).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(refused).rejects.toThrow(message);
  });
});

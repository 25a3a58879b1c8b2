import { expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { native } from "../../lib/runtime/native.js";
import { fixture } from "../helpers/fixtures.js";
import { relativeError } from "../kernels/operator.js";

const folder = fixture("ip2p-tiny", "model/unet");

async function forward(unet: UNet2DConditionModel): Promise<Tensor> {
  const generator = new Generator("cpu", 1);
  using sample = await Tensor.randn([2, 8, 16, 16], { generator });
  using text = await Tensor.randn([2, 5, unet.config.cross_attention_dim as number], { generator });
  return await unet.forward(sample, 3, text);
}

test.each(["float32", "bfloat16"] as const)("weights in use are those of the file, to the bit: %s", async (dtype) => {
  const unet = await UNet2DConditionModel.fromPretrained(folder, { dtype });
  await forward(unet);
  const file = await loadSafetensors(`${folder}/diffusion_pytorch_model.safetensors`);
  for (const [name, weight] of Object.entries(await unet.stateDict())) {
    const stored = await (await file[name]!.to({ dtype })).to({ dtype: "float32" });
    const same = await native().equal((await weight.to({ dtype: "float32" })).handle, stored.handle);
    expect(same, name).toBe(true);
  }
});

test("changed weights are used by the next call", async () => {
  const unet = await UNet2DConditionModel.fromPretrained(folder);
  const before = await forward(unet);
  const state = await unet.stateDict();
  expect(await relativeError(await forward(unet), before)).toBe(0);
  for (const name of [
    "conv_in.weight",
    "up_blocks.0.upsamplers.0.conv.weight",
    "mid_block.attentions.0.proj_in.weight",
  ]) {
    const last = await forward(unet);
    const weight = state[name]!;
    const kept = await weight.clone();
    const zeros = await Tensor.zeros(weight.shape);
    await native().copyTensors([weight.handle], [zeros.handle]);
    expect(await relativeError(await forward(unet), last), name).toBeGreaterThan(1e-4);
    await native().copyTensors([weight.handle], [kept.handle]);
    expect(await relativeError(await forward(unet), before), name).toBeLessThan(1e-6);
  }
});

import { expect, it } from "vitest";
import { AdaptableLayers, declaredLayers } from "../../lib/lora/layers.js";
import { parseLoraName } from "../../lib/lora/names.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../../lib/models/clip_text_model_with_projection.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { native } from "../../lib/runtime/native.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const XL = {
  addition_embed_type: "text_time",
  addition_time_embed_dim: 256,
  attention_head_dim: [5, 10, 20],
  block_out_channels: [320, 640, 1280],
  cross_attention_dim: 2048,
  down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
  up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  projection_class_embeddings_input_dim: 2816,
  sample_size: 128,
  transformer_layers_per_block: [1, 2, 10],
  use_linear_projection: true,
};

async function unetLayers(given: object) {
  const { parse, toNative } = UNet2DConditionModel.description;
  const config = parse(given as never, "test");
  const wanted = toNative(config, "test");
  const names = Object.entries(await native().declaredParameterShapes("UNet2DConditionModel", wanted));
  return {
    layers: await declaredLayers("unet", "UNet2DConditionModel", wanted, config),
    names: names.flatMap(([name, shape]) => (shape.length > 1 ? [name.slice(0, -".weight".length)] : [])),
  };
}

const found = (layers: AdaptableLayers, name: string) => {
  const parsed = parseLoraName(name);
  return parsed && layers.find(parsed);
};

function expectOwnNames(layers: AdaptableLayers, names: readonly string[], prefix: string, flat: string): void {
  expect(names.length).toBeGreaterThan(50);
  for (const name of names) {
    expect(found(layers, `${flat}${name.replaceAll(".", "_")}.lora_down.weight`)).toBe(name);
    for (const ending of ["lora_A.weight", "lora.up.weight", "lora_linear_layer.down.weight", "alpha"])
      expect(found(layers, `${prefix}${name}.${ending}`)).toBe(name);
  }
}

it("finds every layer of the UNet of Stable Diffusion 1.5 by its names in both formats", async () => {
  const { layers, names } = await unetLayers(readJson(fixture("full-size", "unet", "config.json")));
  expect(names).toHaveLength(282);
  expectOwnNames(layers, names, "unet.", "lora_unet_");
  const attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn1";
  expect(found(layers, `unet.${attention}.processor.to_out_lora.up.weight`)).toBe(`${attention}.to_out.0`);
  expect(found(layers, `${attention}.processor.to_q_lora.down.weight`)).toBe(`${attention}.to_q`);
  expect(layers.shape(`${attention}.to_q`)).toEqual([320, 320]);
});

it("finds every layer of the UNet of Stable Diffusion XL by its names in both formats, and in the original code", async () => {
  const { layers, names } = await unetLayers(XL);
  expect(names).toHaveLength(794);
  expectOwnNames(layers, names, "unet.", "lora_unet_");
  const pairs = {
    time_embed_0: "time_embedding.linear_1",
    label_emb_0_2: "add_embedding.linear_2",
    input_blocks_0_0: "conv_in",
    input_blocks_1_0_in_layers_2: "down_blocks.0.resnets.0.conv1",
    input_blocks_2_0_emb_layers_1: "down_blocks.0.resnets.1.time_emb_proj",
    input_blocks_3_0_op: "down_blocks.0.downsamplers.0.conv",
    input_blocks_4_0_skip_connection: "down_blocks.1.resnets.0.conv_shortcut",
    input_blocks_4_1_proj_in: "down_blocks.1.attentions.0.proj_in",
    input_blocks_5_1_transformer_blocks_1_attn2_to_out_0:
      "down_blocks.1.attentions.1.transformer_blocks.1.attn2.to_out.0",
    input_blocks_8_1_transformer_blocks_9_ff_net_0_proj:
      "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.0.proj",
    middle_block_0_out_layers_3: "mid_block.resnets.0.conv2",
    middle_block_1_transformer_blocks_7_ff_net_2: "mid_block.attentions.0.transformer_blocks.7.ff.net.2",
    output_blocks_2_1_transformer_blocks_0_attn1_to_k: "up_blocks.0.attentions.2.transformer_blocks.0.attn1.to_k",
    output_blocks_2_2_conv: "up_blocks.0.upsamplers.0.conv",
    output_blocks_5_1_proj_out: "up_blocks.1.attentions.2.proj_out",
    output_blocks_8_0_in_layers_2: "up_blocks.2.resnets.2.conv1",
    out_2: "conv_out",
  };
  for (const [original, name] of Object.entries(pairs))
    expect(found(layers, `lora_unet_${original}.lora_up.weight`), original).toBe(name);
  // As many as there are layers, and each only once.
  expect(new Set(layers.originalNames.values())).toEqual(new Set(names));
  expect(layers.originalNames.size).toBe(names.length);
  expect(found(layers, "lora_unet_input_blocks_9_1_proj_in.lora_up.weight")).toBeUndefined();
});

it("finds every layer of the text encoders", async () => {
  const sizes = { hidden_size: 1280, intermediate_size: 5120, num_attention_heads: 20, num_hidden_layers: 32 };
  const encoders = [
    [
      "textEncoder",
      CLIPTextModel,
      readJson(fixture("full-size", "text_encoder", "config.json")),
      "text_encoder.",
      "lora_te_",
    ],
    [
      "textEncoder",
      CLIPTextModel,
      readJson(fixture("full-size", "text_encoder", "config.json")),
      "text_encoder.",
      "lora_te1_",
    ],
    [
      "textEncoder2",
      CLIPTextModelWithProjection,
      { ...sizes, hidden_act: "gelu", projection_dim: 1280 },
      "text_encoder_2.",
      "lora_te2_",
    ],
  ] as const;
  for (const [component, { description }, given, prefix, flat] of encoders) {
    const config = description.toNative(description.parse(given as never, "test") as never, "test");
    const shapes = await native().declaredParameterShapes(description.kind, config);
    const names = Object.entries(shapes).flatMap(([name, { length }]) =>
      length > 1 ? [name.slice(0, -".weight".length)] : [],
    );
    const layers = new AdaptableLayers(component, shapes);
    expectOwnNames(layers, names, prefix, flat);
    expectOwnNames(layers, names, `${prefix}text_model.`, `${flat}text_model_`);
    expect(found(layers, `${prefix}text_model.encoder.layers.0.self_attn.to_q_lora.down.weight`)).toBe(
      "encoder.layers.0.self_attn.q_proj",
    );
  }
});

import { join } from "node:path";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";
import { readJson } from "../helpers/fixtures.js";

interface UNet {
  layers_per_block: number;
  up_block_types: string[];
}

type Rule = readonly [RegExp, string | ((...groups: string[]) => string)];

function renamed(name: string, rules: readonly Rule[]): string {
  return rules.reduce((all, [pattern, to]) => all.replace(pattern, to as string), name);
}

const RESNET: readonly Rule[] = [
  ["norm1", "in_layers.0"],
  ["conv1", "in_layers.2"],
  ["time_emb_proj", "emb_layers.1"],
  ["norm2", "out_layers.0"],
  ["conv2", "out_layers.3"],
  ["conv_shortcut", "skip_connection"],
].map(([from, to]) => [new RegExp(`(resnets\\.\\d+\\.)${from}\\.`), `$1${to}.`] as const);

/** The name of a UNet's parameter in the original code, which numbers the layers of each way in one row. */
function unetName(name: string, { layers_per_block: layers, up_block_types: ups }: UNet): string {
  const down = (level: string, layer: number) => 1 + Number(level) * (layers + 1) + layer;
  const up = (level: string, layer: number) => Number(level) * (layers + 1) + layer;
  const rules: readonly Rule[] = [
    ...RESNET,
    [/^conv_in\./, "input_blocks.0.0."],
    [/^conv_norm_out\./, "out.0."],
    [/^conv_out\./, "out.2."],
    [
      /^(time|add)_embedding\.linear_(\d)\./,
      (_, kind, i) => `${kind === "time" ? "time_embed." : "label_emb.0."}${2 * Number(i) - 2}.`,
    ],
    [/^mid_block\.resnets\.(\d)\./, (_, i) => `middle_block.${2 * Number(i)}.`],
    [/^mid_block\.attentions\.0\./, "middle_block.1."],
    [/^down_blocks\.(\d)\.resnets\.(\d)\./, (_, level, i) => `input_blocks.${down(level!, Number(i))}.0.`],
    [/^down_blocks\.(\d)\.attentions\.(\d)\./, (_, level, i) => `input_blocks.${down(level!, Number(i))}.1.`],
    [/^down_blocks\.(\d)\.downsamplers\.0\.conv\./, (_, level) => `input_blocks.${down(level!, layers)}.0.op.`],
    [/^up_blocks\.(\d)\.resnets\.(\d)\./, (_, level, i) => `output_blocks.${up(level!, Number(i))}.0.`],
    [/^up_blocks\.(\d)\.attentions\.(\d)\./, (_, level, i) => `output_blocks.${up(level!, Number(i))}.1.`],
    [
      /^up_blocks\.(\d)\.upsamplers\.0\.conv\./,
      (_, level) => `output_blocks.${up(level!, layers)}.${ups[Number(level)]!.startsWith("CrossAttn") ? 2 : 1}.conv.`,
    ],
  ];
  return `model.diffusion_model.${renamed(name, rules)}`;
}

/** The name of an autoencoder's parameter there; the decoder numbers its levels the other way round. */
function autoencoderName(name: string, levels: number): string {
  return `first_stage_model.${renamed(name, [
    [/conv_shortcut/, "nin_shortcut"],
    [/conv_norm_out/, "norm_out"],
    [/mid_block\.resnets\.(\d)/, (_, i) => `mid.block_${Number(i) + 1}`],
    [/mid_block\.attentions\.0\.group_norm/, "mid.attn_1.norm"],
    [/mid_block\.attentions\.0\.to_out\.0/, "mid.attn_1.proj_out"],
    [/mid_block\.attentions\.0\.to_(\w)/, "mid.attn_1.$1"],
    [/down_blocks\.(\d)\.resnets\.(\d)/, "down.$1.block.$2"],
    [/down_blocks\.(\d)\.downsamplers\.0/, "down.$1.downsample"],
    [/up_blocks\.(\d)\.resnets\.(\d)/, (_, level, i) => `up.${levels - 1 - Number(level)}.block.${i}`],
    [/up_blocks\.(\d)\.upsamplers\.0/, (_, level) => `up.${levels - 1 - Number(level)}.upsample`],
  ])}`;
}

/** The second text encoder as OpenCLIP has it: queries, keys and values in one, and the projection transposed. */
async function openClip(weights: Record<string, Tensor>, prefix: string): Promise<Record<string, Tensor>> {
  const all: Record<string, Tensor> = {};
  for (const [stored, tensor] of Object.entries(weights)) {
    const name = stored.replace(/^text_model\./, "");
    const fused = /^encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)$/.exec(name);
    if (fused) {
      const [, layer, which, kind] = fused;
      if (which !== "q") continue;
      const parts = ["q", "k", "v"].map((part) => weights[stored.replace(".q_proj.", `.${part}_proj.`)]!);
      all[`${prefix}transformer.resblocks.${layer}.attn.in_proj_${kind}`] = await Tensor.cat(parts, 0);
    } else if (name === "text_projection.weight") {
      const [rows, columns] = tensor.shape as [number, number];
      const values = Array.from(await tensor.toArray(), Number);
      const turned = Array.from(
        { length: rows * columns },
        (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!,
      );
      all[`${prefix}text_projection`] = Tensor.from(turned, [columns, rows]);
    } else
      all[
        prefix +
          renamed(name, [
            [/^embeddings\.token_embedding/, "token_embedding"],
            [/^embeddings\.position_embedding\.weight/, "positional_embedding"],
            [/^final_layer_norm/, "ln_final"],
            [/^encoder\.layers/, "transformer.resblocks"],
            [/\.layer_norm(\d)\./, ".ln_$1."],
            [/\.mlp\.fc1/, ".mlp.c_fc"],
            [/\.mlp\.fc2/, ".mlp.c_proj"],
            [/\.self_attn\.out_proj/, ".attn.out_proj"],
          ])
      ] = tensor;
  }
  return all;
}

/** Writes a folder of Stable Diffusion XL as a single file in the original layout. */
export async function writeXLFile(path: string, folder: string, more: Record<string, Tensor> = {}): Promise<string> {
  const index = readJson<Record<string, [string | null]>>(join(folder, "model_index.json"));
  const hasFirst = index.text_encoder![0] !== null;
  const load = (part: string, file: string) => loadSafetensors(join(folder, part, file));
  const config = <T>(part: string) => readJson<T>(join(folder, part, "config.json"));
  const all: Record<string, Tensor> = { ...more };
  for (const [name, tensor] of Object.entries(await load("unet", "diffusion_pytorch_model.safetensors")))
    all[unetName(name, config("unet"))] = tensor;
  const levels = config<{ block_out_channels: number[] }>("vae").block_out_channels.length;
  for (const [name, tensor] of Object.entries(await load("vae", "diffusion_pytorch_model.safetensors"))) {
    const pixels = /attentions\.0\.to_.*weight/.test(name) ? await tensor.reshape([...tensor.shape, 1, 1]) : tensor;
    all[autoencoderName(name, levels)] = pixels;
  }
  if (hasFirst)
    for (const [name, tensor] of Object.entries(await load("text_encoder", "model.safetensors")))
      all[`conditioner.embedders.0.transformer.text_model.${name.replace(/^text_model\./, "")}`] = tensor;
  Object.assign(
    all,
    await openClip(
      await load("text_encoder_2", "model.safetensors"),
      `conditioner.embedders.${hasFirst ? 1 : 0}.model.`,
    ),
  );
  await saveSafetensors(path, all);
  return path;
}

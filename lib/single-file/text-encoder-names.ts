import type { CLIPTextConfig } from "../models/clip_text_model.js";
import type { Shape } from "./file.js";
import { type NameTable, replacingStart, type Target } from "./names.js";

/** Names of CLIP's text encoder as transformers saves it: the model's own. */
export const transformersNames: NameTable = (name) => [{ name }];

const layer = replacingStart({
  ln_1: "layer_norm1",
  ln_2: "layer_norm2",
  "mlp.c_fc": "mlp.fc1",
  "mlp.c_proj": "mlp.fc2",
  "attn.out_proj": "self_attn.out_proj",
});

const WHOLE: Readonly<Record<string, string>> = {
  positional_embedding: "embeddings.position_embedding.weight",
  "token_embedding.weight": "embeddings.token_embedding.weight",
  "ln_final.weight": "final_layer_norm.weight",
  "ln_final.bias": "final_layer_norm.bias",
};

/**
 * Names of a text encoder as OpenCLIP saves it. Layers beyond those of the configuration are left out: Stable
 * Diffusion 2 was trained with all but the last one.
 *
 * @param projection whether the model has a projection of the pooled output, whose matrix the file holds transposed
 */
export function openClipNames({ num_hidden_layers }: OpenClipStructure, projection: boolean): NameTable {
  return (name, shape) => {
    const whole = Object.hasOwn(WHOLE, name) ? WHOLE[name] : undefined;
    if (whole !== undefined) return [{ name: whole }];
    if (name === "text_projection") return projection ? [{ name: "text_projection.weight", transposed: true }] : [];
    const [, index, rest] = /^transformer\.resblocks\.(\d{1,9})\.(.+)$/.exec(name) ?? [];
    if (index === undefined || rest === undefined) return undefined;
    if (Number(index) >= num_hidden_layers) return [];
    const to = `encoder.layers.${Number(index)}`;
    const kind = /^attn\.in_proj_(weight|bias)$/.exec(rest)?.[1];
    if (kind !== undefined) return thirds(`${to}.self_attn`, kind, shape);
    return [{ name: `${to}.${layer(rest)}` }];
  };
}

export type OpenClipStructure = Pick<CLIPTextConfig, "num_hidden_layers">;

/** Queries, keys and values, which the file fuses in this order: [3C,C] or [3C]. */
function thirds(to: string, kind: string, [rows = 0, ...rest]: Shape): Target[] {
  const part = [Math.floor(rows / 3), ...rest];
  const elements = part.reduce((product, size) => product * size, 1);
  return ["q_proj", "k_proj", "v_proj"].map((projection, i) => ({
    name: `${to}.${projection}.${kind}`,
    shape: part,
    first: i * elements,
  }));
}

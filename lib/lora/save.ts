import { disposeAll, Tensor } from "../core/tensor.js";
import { saveSafetensors } from "../files/safetensors.js";
import type { AdaptableLayers } from "./layers.js";
import { LORA_FOLDERS, type LoraComponent } from "./names.js";

/** Whose names a file's tensors have: those of diffusers and peft, or those of kohya's scripts and A1111. */
export type LoraFormat = "diffusers" | "kohya";

/** The part of an adapter that belongs to one model. */
export interface SavedAdapterPart {
  component: LoraComponent;
  /** The factors by layer. */
  layers: ReadonlyMap<string, { down: Tensor; up: Tensor }>;
  rank: number;
  alpha: number;
  dropout: number;
  targets: readonly string[];
  /** Names of layers in the original code, where kohya's scripts use them. */
  names?: AdaptableLayers["originalNames"];
  /** The start of the layers' names in kohya's files. */
  prefix: string;
}

/** Writes an adapter's file. @throws `ERR_IO` */
export async function writeAdapter(
  path: string,
  parts: readonly SavedAdapterPart[],
  format: LoraFormat,
): Promise<void> {
  if (format === "diffusers")
    await saveSafetensors(path, Object.fromEntries(parts.flatMap(peftTensors)), peftMetadata(parts));
  else {
    const alphas = parts.map(({ alpha }) => Tensor.from([alpha], []));
    try {
      const tensors = parts.flatMap((part, i) => kohyaTensors(part, alphas[i]!));
      const { rank, alpha } = parts[0]!;
      const metadata = { ss_network_module: "networks.lora", ss_network_dim: `${rank}`, ss_network_alpha: `${alpha}` };
      await saveSafetensors(path, Object.fromEntries(tensors), { format: "pt", ...metadata });
    } finally {
      disposeAll(...alphas);
    }
  }
}

/** A text encoder's layers have the names of transformers' files, in which its part of CLIP is a module. */
function moduleOf(component: LoraComponent): string {
  return component === "unet" ? "" : "text_model.";
}

/** The name of a layer's factor in diffusers' files, without its role. */
export function peftName(component: LoraComponent, layer: string): string {
  return `${LORA_FOLDERS[component]}.${moduleOf(component)}${layer}`;
}

function peftTensors({ component, layers }: SavedAdapterPart): [string, Tensor][] {
  return [...layers].flatMap(([layer, { down, up }]): [string, Tensor][] => {
    const name = peftName(component, layer);
    return [
      [`${name}.lora_A.weight`, down],
      [`${name}.lora_B.weight`, up],
    ];
  });
}

/** peft's configuration, by which diffusers knows an alpha other than the rank. */
function peftMetadata(parts: readonly SavedAdapterPart[]): Record<string, string> {
  const entries = parts.flatMap(({ component, layers, rank, alpha, dropout, targets }) => {
    // What stands for many layers is spelled out, since it may mean others there.
    const isPlain = targets.every((target) =>
      [...layers.keys()].some((layer) => layer === target || layer.endsWith(`.${target}`)),
    );
    const config = {
      peft_type: "LORA",
      ...{ r: rank, lora_alpha: alpha, lora_dropout: dropout, bias: "none", init_lora_weights: "gaussian" },
      target_modules: isPlain ? targets : [...layers.keys()].map((layer) => moduleOf(component) + layer),
      ...{ use_dora: false, use_rslora: false, lora_bias: false },
    };
    return Object.entries(config).map(([key, value]) => [`${LORA_FOLDERS[component]}.${key}`, value] as const);
  });
  return { format: "pt", lora_adapter_metadata: JSON.stringify(Object.fromEntries(entries), null, 2) };
}

function kohyaTensors({ component, layers, names, prefix }: SavedAdapterPart, alpha: Tensor): [string, Tensor][] {
  const original = new Map([...(names ?? [])].map(([name, layer]) => [layer, name]));
  return [...layers].flatMap(([layer, { down, up }]): [string, Tensor][] => {
    const flat = original.get(layer) ?? `${moduleOf(component)}${layer}`.replaceAll(".", "_");
    const name = `${prefix}${flat}`;
    return [
      [`${name}.lora_down.weight`, down],
      [`${name}.lora_up.weight`, up],
      [`${name}.alpha`, alpha],
    ];
  });
}

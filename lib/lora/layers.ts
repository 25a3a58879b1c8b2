import { native } from "../runtime/native.js";
import { renamed } from "../single-file/names.js";
import { RESNET_LAYERS, type UNetStructure, unetModules } from "../single-file/unet-names.js";
import type { LoraComponent, LoraName } from "./names.js";

/** The layers of a model that adapters can change: those with a matrix or a kernel. */
export class AdaptableLayers {
  readonly #component: LoraComponent;
  /** Shapes of the weights, by layer. */
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  /** Layers by the names that kohya's scripts give them. */
  readonly #flat = new Map<string, string>();
  /** Layers of a UNet by their names in the original code, with underscores. */
  readonly originalNames: ReadonlyMap<string, string>;

  /**
   * @param shapes of all parameters
   * @param structure of a UNet, whose layers may also have the names of the original code
   */
  constructor(
    component: LoraComponent,
    shapes: Readonly<Record<string, readonly number[]>>,
    structure?: UNetStructure | undefined,
  ) {
    this.#component = component;
    const layers = Object.entries(shapes).flatMap(([name, shape]) =>
      name.endsWith(".weight") && shape.length >= 2 ? [[name.slice(0, -".weight".length), shape] as const] : [],
    );
    this.#shapes = new Map(layers);
    for (const [layer] of layers) {
      this.#flat.set(layer.replaceAll(".", "_"), layer);
      if (component !== "unet") this.#flat.set(`text_model_${layer.replaceAll(".", "_")}`, layer);
    }
    const original = structure?.mid_block_type === "UNetMidBlock2DCrossAttn" ? this.#original(structure) : [];
    this.originalNames = new Map(original);
  }

  /** The layer that a name of a file means, by its name in the model. */
  find({ layer, flat }: Pick<LoraName, "layer" | "flat">): string | undefined {
    if (flat) return this.#flat.get(layer) ?? this.originalNames.get(layer);
    return spellings(layer, this.#component).find((name) => this.#shapes.has(name));
  }

  /** The shape of a layer's weight. */
  shape(layer: string): readonly number[] {
    return this.#shapes.get(layer)!;
  }

  /** Whether some layer is in this part of the model, such as "down_blocks.1". */
  hasPart(part: string): boolean {
    return [...this.#shapes.keys()].some((layer) => isIn(layer, part));
  }

  /** "down_blocks.0.resnets.0.conv1" is "input_blocks_1_0_in_layers_2" in the original code. */
  #original(structure: UNetStructure): [string, string][] {
    const modules = unetModules(structure);
    const names: [string, string][] = [];
    for (const [module, { to }] of modules)
      for (const layer of this.#shapes.keys()) {
        if (!isIn(layer, to)) continue;
        const name = [...RESNET_LAYERS.map((inside) => `${module}.${inside}`), module + layer.slice(to.length)].find(
          (candidate) => renamed(modules, `${candidate}.weight`) === `${layer}.weight`,
        );
        if (name !== undefined) names.push([name.replaceAll(".", "_"), layer]);
      }
    return names;
  }
}

/** Whether a layer is a part of the model, or in it. */
export function isIn(layer: string, part: string): boolean {
  return layer === part || layer.startsWith(`${part}.`);
}

/** What a dotted name may mean: older files name the attention's processor, and the module instead of its first layer. */
function spellings(layer: string, component: LoraComponent): string[] {
  const plain = layer.replace(/\.processor(?=\.|$)/, "");
  if (component === "unet") {
    const names = [plain];
    if (plain.endsWith(".to_out")) names.push(`${plain}.0`);
    return names;
  }
  const bare = plain.replace(/^text_model\./, "");
  return [bare, bare.replace(/\.to_([qkv])$/, ".$1_proj").replace(/\.to_out(?:\.0)?$/, ".out_proj")];
}

/** The layers of a model that is not made. */
export async function declaredLayers(
  component: LoraComponent,
  kind: string,
  config: object,
  structure?: UNetStructure,
): Promise<AdaptableLayers> {
  return new AdaptableLayers(component, await native().declaredParameterShapes(kind, config), structure);
}

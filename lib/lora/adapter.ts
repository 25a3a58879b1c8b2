import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { disposeAll, type Tensor } from "../core/tensor.js";
import { loadSafetensorsWithMetadata, readSafetensorsHeader, type StoredTensor } from "../files/safetensors.js";
import { isPickle } from "../models/weight-names.js";
import { native } from "../runtime/native.js";
import type { AdaptableLayers } from "./layers.js";
import { parseMetadata } from "./metadata.js";
import { LORA_FOLDERS, type LoraComponent, type LoraName, type LoraRole, otherKind, parseLoraName } from "./names.js";

/** An addition to a layer's weight: scale·up·down. */
export interface Factors {
  up: Tensor;
  down: Tensor;
  scale: number;
}

/** An adapter's additions, by the weights' names in the model. */
export type AdapterFactors = ReadonlyMap<string, Factors>;

/** Adapters scale by alpha/rank; published ones by less than 10. */
const MAX_SCALE = 1024;
const LISTED = 5;
const TYPES = ["F32", "F16", "BF16", "F64"];

/** Names of the tensors of one layer. */
interface LayerNames extends Partial<Record<LoraRole, string>> {
  component: LoraComponent;
  layer: string;
}

/**
 * Reads an adapter's file for a pipeline with these layers. Names and shapes are checked before any value is read.
 *
 * @param only the component that is read. Default all.
 * @throws `ERR_STATE_DICT` for tensors that belong to no layer, are incomplete or do not fit, and other kinds of adapters;
 *   `ERR_NOT_FINITE`, `ERR_SAFETENSORS`, `ERR_FILE_NOT_FOUND`, `ERR_IO`
 */
export async function readAdapter(
  path: string,
  models: ReadonlyMap<LoraComponent, AdaptableLayers>,
  only?: LoraComponent,
): Promise<Map<LoraComponent, AdapterFactors>> {
  if (isPickle(path)) throw new InstructPix2PixError("ERR_SAFETENSORS", `${path}: is a pickle, which is never read`);
  const header = new Map(
    [...(await readSafetensorsHeader(path))].filter(
      ([name]) => only === undefined || (parseLoraName(name)?.component ?? only) === only,
    ),
  );
  const layers = checkAdapter(path, header, models);
  const { tensors, metadata } = await loadSafetensorsWithMetadata(path);
  const kept = new Set<Tensor>();
  try {
    const scaleOf = parseMetadata(metadata, path);
    const result = new Map<LoraComponent, Map<string, Factors>>();
    for (const { component, layer, up, down, alpha } of layers) {
      const rank = tensors[down!]!.shape[0]!;
      const stored = alpha === undefined ? undefined : await tensors[alpha]!.item();
      const scale = scaleOf(LORA_FOLDERS[component], layer, rank) ?? (stored ?? rank) / rank;
      if (!Number.isFinite(scale) || Math.abs(scale) > MAX_SCALE)
        throw new InstructPix2PixError(
          "ERR_STATE_DICT",
          `${path}: the alpha of ${quote(down!)} is ${scale * rank} for rank ${rank}, at most ${MAX_SCALE} times the rank is accepted`,
        );
      for (const name of [up!, down!]) {
        if (!(await native().isFinite(tensors[name]!.handle)))
          throw new InstructPix2PixError("ERR_NOT_FINITE", `${path}: ${quote(name)} holds NaN or infinity`);
        kept.add(tensors[name]!);
      }
      const factors = result.get(component) ?? new Map<string, Factors>();
      factors.set(`${layer}.weight`, { up: tensors[up!]!, down: tensors[down!]!, scale });
      result.set(component, factors);
    }
    disposeAll(...Object.values(tensors).filter((tensor) => !kept.has(tensor)));
    return result;
  } catch (error) {
    disposeAll(...Object.values(tensors));
    throw error;
  }
}

/**
 * Assigns a file's tensors to layers.
 *
 * @throws `ERR_STATE_DICT`
 */
export function checkAdapter(
  path: string,
  header: ReadonlyMap<string, StoredTensor>,
  models: ReadonlyMap<LoraComponent, AdaptableLayers>,
): LayerNames[] {
  const refuse = (problem: string) => new InstructPix2PixError("ERR_STATE_DICT", `${path}: ${problem}`);
  const layers = new Map<string, LayerNames>();
  const unknown: string[] = [];
  for (const [name, { dtype }] of header) {
    const other = otherKind(name);
    if (other !== undefined) throw refuse(`${quote(name)} belongs to ${other}: only LoRA is supported`);
    const parsed = parseLoraName(name);
    const layer = parsed && models.get(parsed.component)?.find(parsed);
    if (!parsed || layer === undefined) {
      unknown.push(name);
      continue;
    }
    const { component, role } = parsed;
    if (!TYPES.includes(dtype)) throw refuse(`${quote(name)} has the type ${dtype}, not one of ${TYPES.join(", ")}`);
    const key = `${component} ${layer}`;
    const names = layers.get(key) ?? { component, layer };
    if (names[role] !== undefined) throw refuse(`${quote(names[role])} and ${quote(name)} are for the same layer`);
    names[role] = name;
    layers.set(key, names);
  }
  if (unknown.length > 0) throw refuse(unknownText(unknown, models));
  if (layers.size === 0) throw refuse("holds no adapter: there are no tensors");
  for (const names of layers.values()) checkShapes(names, header, models.get(names.component)!, refuse);
  return [...layers.values()];
}

function checkShapes(
  { component, layer, up, down, alpha }: LayerNames,
  header: ReadonlyMap<string, StoredTensor>,
  model: AdaptableLayers,
  refuse: (problem: string) => Error,
): void {
  if (up === undefined || down === undefined)
    throw refuse(
      `${quote((up ?? down ?? alpha)!)} lacks its counterpart: a layer needs two factors, down (A) and up (B)`,
    );
  const weight = model.shape(layer);
  const [upShape, downShape] = [header.get(up)!.shape, header.get(down)!.shape];
  if (alpha !== undefined && header.get(alpha)!.shape.reduce((a, b) => a * b, 1) !== 1)
    throw refuse(`${quote(alpha)} is not one number but [${header.get(alpha)!.shape.join()}]`);
  const [rank = 0, ...inner] = downShape;
  if (rank < 1 || upShape.length < 2 || upShape[1] !== rank)
    throw refuse(`the ranks of ${quote(down)}, [${downShape.join()}], and ${quote(up)}, [${upShape.join()}], differ`);
  const fits =
    squeezed(upShape.slice(2)).length === 0 &&
    upShape[0] === weight[0] &&
    inner[0] === weight[1] &&
    squeezed(inner.slice(1)).join() === squeezed(weight.slice(2)).join();
  if (!fits)
    throw refuse(
      `${quote(down)} is [${downShape.join()}] and ${quote(up)} is [${upShape.join()}], but the weight of ${quote(layer)} in ` +
        `${LORA_FOLDERS[component]} is [${weight.join()}]: the adapter was made for another base model`,
    );
}

/** Sizes other than 1: a kernel of one pixel is a matrix. */
function squeezed(sizes: readonly number[]): number[] {
  return sizes.filter((size) => size !== 1);
}

function unknownText(unknown: readonly string[], models: ReadonlyMap<LoraComponent, unknown>): string {
  const shown = unknown.slice(0, LISTED).map(quote).join(", ");
  const more = unknown.length > LISTED ? ` (and ${unknown.length - LISTED} more)` : "";
  const parsed = unknown.map(parseLoraName).filter((name): name is LoraName => name !== undefined);
  const lacking = parsed.find(({ component }) => !models.has(component))?.component;
  const why =
    lacking !== undefined
      ? `; the pipeline has no ${LORA_FOLDERS[lacking]}`
      : parsed.length > 0
        ? "; the adapter was made for another base model"
        : "";
  return `holds tensors that belong to no layer of the pipeline's models: ${shown}${more}${why}`;
}

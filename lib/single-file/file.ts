import { basename } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import type { ModelDType } from "../core/tensor.js";
import { readSafetensorsHeader } from "../files/safetensors.js";
import { isPickle } from "../models/weight-names.js";
import { COMPONENT_PREFIXES, type ComponentName, EDM_SIGN, type Family, identify, isIgnored } from "./layout.js";

export type Shape = readonly number[];

/** The tensors of one model of a file, by their names after the model's prefix. */
export interface Component {
  /** What all its names start with in the file: "first_stage_model." */
  prefix: string;
  shapes: ReadonlyMap<string, Shape>;
  /** The types of its tensors, as files name them. */
  dtypes: ReadonlySet<string>;
}

/** A whole pipeline, or one of its models, in a single file of the original layout, of which only the header was read. */
export interface SingleFile {
  path: string;
  family: Family;
  /** Whether it says that its UNet takes the noise levels of EDM, as CosXL's do. */
  isEdm: boolean;
  components: ReadonlyMap<ComponentName, Component>;
}

const LISTED = 5;

const PICKLE =
  "is a pickle, which can run code and is never read. Convert it in Python: " +
  'from safetensors.torch import save_file; import torch; w = torch.load("model.ckpt", weights_only=True, map_location="cpu"); ' +
  'w = w.get("state_dict", w); save_file({k: v.contiguous().clone() for k, v in w.items() if torch.is_tensor(v)}, "model.safetensors")';

/**
 * Reads the header of a file, and finds out which models it holds.
 *
 * @throws `ERR_SAFETENSORS` for a file that is not safetensors, `ERR_STATE_DICT` for one of another layout (a LoRA, a
 * ControlNet, a model in diffusers' own format: the message says which), or with tensors that belong to no model,
 * `ERR_FILE_NOT_FOUND`, `ERR_IO`
 */
export async function openSingleFile(path: string): Promise<SingleFile> {
  if (typeof path !== "string" || path === "")
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "file must be the path of a safetensors file");
  if (isPickle(basename(path))) throw new InstructPix2PixError("ERR_SAFETENSORS", `${path}: ${PICKLE}`);
  const header = await readSafetensorsHeader(path).catch((error: unknown) => {
    if (!isInstructPix2PixError(error, "ERR_SAFETENSORS")) throw error;
    const hint = "a model is a folder in diffusers' format, or one safetensors file";
    throw new InstructPix2PixError(error.code, `${error.message} ${hint}`, { cause: error.cause });
  });
  const family = identify(path, header);
  const components = new Map<ComponentName, Component & { shapes: Map<string, Shape>; dtypes: Set<string> }>();
  const unknown: string[] = [];
  for (const [name, { shape, dtype }] of header) {
    const owner = COMPONENT_PREFIXES[family].find(({ prefix }) => name.startsWith(prefix));
    if (isIgnored(name)) continue;
    if (owner === undefined) {
      unknown.push(name);
      continue;
    }
    const { component, prefix } = owner;
    const known = components.get(component) ?? { prefix, shapes: new Map(), dtypes: new Set() };
    if (known.prefix !== prefix)
      throw new InstructPix2PixError(
        "ERR_STATE_DICT",
        `${path}: holds the ${component} twice, as ${quote(known.prefix)} and as ${quote(prefix)}`,
      );
    known.shapes.set(name.slice(prefix.length), shape);
    known.dtypes.add(dtype);
    components.set(component, known);
  }
  if (unknown.length > 0) throw unexpectedTensors(path, unknown);
  return { path, family, isEdm: header.has(EDM_SIGN), components };
}

/** The error for names that no table knows. */
export function unexpectedTensors(path: string, names: readonly string[]): InstructPix2PixError {
  const shown = names.slice(0, LISTED).map(quote).join(", ");
  const more = names.length > LISTED ? ` (and ${names.length - LISTED} more)` : "";
  return new InstructPix2PixError("ERR_STATE_DICT", `${path}: holds tensors that belong to no model: ${shown}${more}`);
}

/**
 * One of the models in the file.
 *
 * @throws `ERR_STATE_DICT`
 */
export function componentOf(file: SingleFile, component: ComponentName): Component {
  const found = file.components.get(component);
  if (found) return found;
  const present = [...file.components.keys()].join(", ");
  throw new InstructPix2PixError("ERR_STATE_DICT", `${file.path}: holds no ${component}, only ${present || "nothing"}`);
}

const DTYPES: Readonly<Record<string, ModelDType>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** The type that a model's weights have in the file; float32 where they have several, or one that no model has. */
export function storedDType({ dtypes }: Component): ModelDType {
  const [only, ...others] = dtypes;
  return (others.length === 0 && DTYPES[only!]) || "float32";
}

/** Bytes of a model's weights in the file, about: where types differ, as if all were the widest. */
export function storedBytes(component: Component): number {
  const numbers = [...component.shapes.values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return numbers * (storedDType(component) === "float32" ? 4 : 2);
}

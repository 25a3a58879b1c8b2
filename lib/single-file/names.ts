import type { TensorView } from "../runtime/contract/index.js";
import { type Component, type Shape, type SingleFile, unexpectedTensors } from "./file.js";

/** What a tensor of a file becomes. */
export interface Target {
  /** The parameter's name in diffusers. */
  name: string;
  /** Shape of the elements in the file; default that of the whole tensor. */
  shape?: Shape;
  /** Index of the first element; default 0. */
  first?: number;
  /** Default false. */
  transposed?: boolean;
}

/**
 * Says what a tensor becomes: several parameters if it is a fused one, none if the model does not need it; undefined for
 * an unknown name.
 */
export type NameTable = (name: string, shape: Shape) => readonly Target[] | undefined;

/**
 * The tensors of a model under the names of its parameters.
 *
 * @throws `ERR_STATE_DICT` naming tensors that the table does not know
 */
export function viewsOf(file: SingleFile, { prefix, shapes }: Component, table: NameTable): TensorView[] {
  const views: TensorView[] = [];
  const unknown: string[] = [];
  for (const [name, shape] of shapes) {
    const targets = table(name, shape);
    if (targets === undefined) unknown.push(prefix + name);
    for (const target of targets ?? [])
      views.push({ source: prefix + name, shape, first: 0, transposed: false, ...target });
  }
  if (unknown.length > 0) throw unexpectedTensors(file.path, unknown);
  return views;
}

/** How the names below a module change. */
export type Inner = (rest: string) => string;

/** A module of the file, and what it is in diffusers. */
export interface Module {
  to: string;
  inner?: Inner;
}

/** Parts of the longest module's name, "decoder.up.0.upsample.conv": names in files may have any number. */
const MAX_PARTS = 6;

/** Renames by the longest module that the table has. */
export function renamed(modules: ReadonlyMap<string, Module>, name: string): string | undefined {
  let result: string | undefined;
  let end = name.indexOf(".");
  for (let parts = 1; end > 0 && parts <= MAX_PARTS; parts++, end = name.indexOf(".", end + 1)) {
    const module = modules.get(name.slice(0, end));
    const rest = name.slice(end + 1);
    if (module) result = `${module.to}.${module.inner ? module.inner(rest) : rest}`;
  }
  return result;
}

/** Replaces the first part of a name that the table has. */
export function replacingStart(table: Readonly<Record<string, string>>): Inner {
  return (rest) => {
    for (const [from, to] of Object.entries(table))
      if (rest.startsWith(`${from}.`)) return to + rest.slice(from.length);
    return rest;
  };
}

import { basename, resolve } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { BUILT_IN_MODELS } from "../../models/built-in.js";
import type { ModelSource } from "../../server/models.js";
import type { ServeValues } from "./options.js";

/**
 * The models of `--model [NAME=]DIR|HUB_ID`, by their names: without one, a folder's own, or the id.
 *
 * @throws `ERR_USAGE` for a name that is empty or given twice
 */
export function servedModels(values: ServeValues): Record<string, ModelSource> {
  const { model = [], variant, cacheDir, localFilesOnly, dtype, device, quantization } = values;
  const options = { dtype, device, quantization, cacheDir, localFilesOnly, ...(variant !== undefined && { variant }) };
  if (model.length === 0)
    return Object.fromEntries(Object.entries(BUILT_IN_MODELS).map(([name, from]) => [name, { from, ...options }]));
  return named("model", "DIR|HUB_ID", model, (from) => ({ from, ...options }));
}

/**
 * The LoRA adapters of `--lora [NAME=]FILE|DIR|HUB_ID`, by their names: without one, a file's or folder's own, or the id.
 *
 * @throws `ERR_USAGE` for a name that is empty or given twice
 */
export function servedLoras({ lora = [] }: Pick<ServeValues, "lora">): Record<string, string> {
  return named("lora", "FILE|DIR|HUB_ID", lora, (from) => from);
}

/** What an option gives, by the names before `=` or those of files. */
function named<T>(
  option: "model" | "lora",
  value: string,
  texts: readonly string[],
  of: (from: string) => T,
): Record<string, T> {
  const all = new Map<string, T>();
  for (const text of texts) {
    const [, name, from] = /^(?:([^=/\\]*)=)?(.*)$/s.exec(text)!;
    const called = name ?? (isPath(from!) ? basename(resolve(from!), ".safetensors") : from!);
    if (called === "" || from === "") throw usage(`--${option} ${quote(text)} is not [NAME=]${value}`);
    if (all.has(called)) throw usage(`--${option} gives the name ${quote(called)} twice: put NAME= before them`);
    all.set(called, of(from!));
  }
  return Object.fromEntries(all);
}

/** Refuses models and adapters without usable names, before anything is loaded. */
export function checkServeValues(values: ServeValues): void {
  servedModels(values);
  servedLoras(values);
}

function isPath(text: string): boolean {
  return /^[./\\~]|^[a-z]:[/\\]/i.test(text);
}

function usage(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_USAGE", problem);
}

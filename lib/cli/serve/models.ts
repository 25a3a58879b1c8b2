import { basename, resolve } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { builtInModel } from "../../models/built-in.js";
import type { ModelSource } from "../../server/models.js";
import type { ServeValues } from "./options.js";

/** The name of the built-in model. */
const BUILT_IN = "built-in";

/**
 * The models of `--model [NAME=]DIR|HUB_ID`, by their names: without one, a folder's own, or the id.
 *
 * @throws `ERR_USAGE` for a name that is empty or given twice
 */
export function servedModels(values: ServeValues): Record<string, ModelSource> {
  const { model = [], variant, cacheDir, localFilesOnly, dtype, device, quantization } = values;
  const options = { dtype, device, quantization, cacheDir, localFilesOnly, ...(variant !== undefined && { variant }) };
  if (model.length === 0) return { [BUILT_IN]: { from: builtInModel, ...options } };
  const models = new Map<string, ModelSource>();
  for (const text of model) {
    const [, name, from] = /^(?:([^=/\\]*)=)?(.*)$/s.exec(text)!;
    const called = name ?? (isPath(from!) ? basename(resolve(from!)) : from!);
    if (called === "" || from === "") throw usage(`--model ${quote(text)} is not [NAME=]DIR|HUB_ID`);
    if (models.has(called)) throw usage(`--model gives two models the name ${quote(called)}: put NAME= before them`);
    models.set(called, { from: from!, ...options });
  }
  return Object.fromEntries(models);
}

/** Refuses models without usable names, before anything is loaded. */
export function checkServeValues(values: ServeValues): void {
  servedModels(values);
}

function isPath(text: string): boolean {
  return /^[./\\~]|^[a-z]:[/\\]/i.test(text);
}

function usage(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_USAGE", problem);
}

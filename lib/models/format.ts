import type { ModelKind } from "../runtime/contract/index.js";
import type { WeightBaseName } from "./weight-names.js";

/** The Python package whose files a model's are. */
export type ModelLibrary = "diffusers" | "transformers";

/** The file with a model's configuration. */
export const MODEL_CONFIG = "config.json";

/** How a model class is stored in a folder. */
export interface ModelFormat {
  /** The class, as `_class_name` in files. */
  kind: ModelKind;
  library: ModelLibrary;
  /** What `model_index.json` names instead of the package: the module of a class that is part of diffusers' pipelines. */
  module?: string;
  /** What the library puts before the names of tensors in files; default nothing. */
  prefix?: string;
  /** How names begin that have no prefix in files. */
  unprefixed?: string;
  /** `model_type` in a configuration of transformers. */
  modelType?: string;
  /** Keys of the configuration whose values must be written as floats: transformers refuses 1 for 1.0. */
  floats?: readonly string[];
}

/** Stem of the weight files that a library writes; any other than transformers writes as diffusers does. */
export function weightBaseName(library: string): WeightBaseName {
  return library === "transformers" ? "model" : "diffusion_pytorch_model";
}

/** The file that a model's weights are written to. */
export function weightsFile({ library }: Pick<ModelFormat, "library">): string {
  return `${weightBaseName(library)}.safetensors`;
}

import { componentNames, type PipelineDescription, slotsOf } from "../components/description.js";
import { assemble, type GivenComponents, loadingGiven } from "../components/load.js";
import type { LoadProgress } from "../components/load-progress.js";
import { withModelsAt } from "../components/model-at.js";
import {
  modelOptions,
  onDevice,
  PIPELINE_MODEL_OPTIONS,
  type PipelineModelOptions,
} from "../components/model-options.js";
import { checkKnown, optionNames } from "../core/known-options.js";
import { checkSingleFile, type SingleFileComponents, type SingleFilePipelineOptions } from "./check.js";
import { componentOf, storedBytes } from "./file.js";
import { SINGLE_FILE_MODEL_OPTIONS, type SingleFileModelOptions } from "./model.js";

/** Options of loading a pipeline from a single file. */
export interface FromSingleFileOptions
  extends PipelineModelOptions,
    Omit<SingleFileModelOptions, "device">,
    SingleFilePipelineOptions {
  /** Called while the weights are loaded; not awaited. */
  onProgress?: (progress: LoadProgress) => void;
}

const OPTIONS = optionNames<FromSingleFileOptions>()({
  ...SINGLE_FILE_MODEL_OPTIONS,
  ...PIPELINE_MODEL_OPTIONS,
  onProgress: true,
  predictionType: true,
});

export type { SingleFileComponents };

/**
 * Options of loading with components to use instead of the file's, or of the tokenizer and the scheduler that are otherwise
 * those of `config` or of the published models. They belong to the caller, as with {@link LoadOptions}.
 */
export type SingleFileLoadOptions<C> = FromSingleFileOptions & GivenComponents<C>;

/**
 * Loads the components of a pipeline of Stable Diffusion 1 or 2 from one safetensors file in the original layout.
 * Configurations are inferred from the header; the tokenizer and the scheduler's settings, which such files lack, come from
 * the options or are those of the published models.
 *
 * @param path path of the file
 * @throws `ERR_INVALID_ARGUMENT`, `ERR_FILE_NOT_FOUND`, `ERR_SAFETENSORS`, `ERR_STATE_DICT` for another layout and for
 *   missing or unknown tensors, `ERR_CONFIG` for a model that is not supported or components that do not fit together,
 *   all before weights are read; `ERR_NOT_FINITE`, `ERR_OUT_OF_MEMORY`, `ERR_HUB` for `config`; `ERR_ABORTED`
 */
export async function loadSingleFile<C extends SingleFileComponents>(
  description: PipelineDescription<C>,
  path: string,
  options: SingleFileLoadOptions<C> = {} as SingleFileLoadOptions<C>,
): Promise<C> {
  checkKnown(options, { ...OPTIONS, ...componentNames(description) });
  const place = onDevice(options);
  const { cacheDir, token, localFilesOnly, signal } = options;
  const located = await withModelsAt(slotsOf(description), options, { cacheDir, token, localFilesOnly, signal });
  const { file, ready, models, given, configFolder } = await checkSingleFile(description, path, located);
  const loading = models.map(({ name, modelClass, inFile, config }) => ({
    name,
    load: () => {
      const own = modelOptions(modelClass, config, place);
      return inFile.load(path, { ...own, config: configFolder });
    },
    bytes: () => storedBytes(componentOf(file, inFile.component)),
  }));
  return assemble(ready, [...loading, ...loadingGiven(given, place)], given, options);
}

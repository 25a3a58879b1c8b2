import { componentNames, type PipelineDescription, slotsOf } from "../components/description.js";
import { assemble, type GivenComponents, loadingGiven, modelOptions } from "../components/load.js";
import { withModelsAt } from "../components/model-at.js";
import { resolveDevice } from "../core/device.js";
import { checkKnown, optionNames } from "../core/known-options.js";
import type { ModelDType } from "../core/tensor.js";
import { checkQuantization, QUANTIZATION_OPTIONS, type QuantizationOptions } from "../models/pretrained.js";
import type { StableDiffusionComponents } from "../pipelines/components.js";
import { native } from "../runtime/native.js";
import { checkSingleFile, type SingleFilePipelineOptions } from "./check.js";
import { SINGLE_FILE_MODEL_OPTIONS, type SingleFileModelOptions } from "./model.js";

export interface FromSingleFileOptions
  extends Omit<SingleFileModelOptions, "device">,
    SingleFilePipelineOptions,
    QuantizationOptions {
  /** "auto" (default): the first CUDA device that works, else the CPU. */
  device?: string;
  /**
   * Type of the autoencoder. Default `dtype`, but "float32" if that is "float16" and the autoencoder's configuration
   * has `"force_upcast": true`.
   */
  vaeDtype?: ModelDType;
}

const OPTIONS = optionNames<FromSingleFileOptions>()({
  ...SINGLE_FILE_MODEL_OPTIONS,
  ...QUANTIZATION_OPTIONS,
  vaeDtype: true,
  predictionType: true,
});

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
export async function loadSingleFile<C extends StableDiffusionComponents>(
  description: PipelineDescription<C>,
  path: string,
  options: SingleFileLoadOptions<C> = {} as SingleFileLoadOptions<C>,
): Promise<C> {
  checkKnown(options, { ...OPTIONS, ...componentNames(description) });
  native(); // a missing libtorch is reported before anything of the file is looked at
  const device = resolveDevice(options.device ?? "auto");
  const { dtype = "float32", quantization = "none", signal } = options;
  checkQuantization(quantization, dtype, device);
  const { cacheDir, token, localFilesOnly } = options;
  const located = await withModelsAt(slotsOf(description), options, { cacheDir, token, localFilesOnly, signal });
  const { ready, models, given, configFolder } = await checkSingleFile(description, path, located);
  const loading = models.map(({ name, modelClass, inFile, config }) => ({
    name,
    load: () => {
      const own = modelOptions(modelClass, config, { ...options, device });
      return inFile.load(path, { ...own, config: configFolder });
    },
  }));
  return assemble(ready, [...loading, ...loadingGiven(given, { ...options, device })], given, signal);
}

import { type Checkpoint, checkpointAt, describedBy, partsOfCheckpoint, withBase } from "../components/checkpoint.js";
import { componentNames, type PipelineDescription } from "../components/description.js";
import {
  checkNames,
  type FromPretrainedOptions,
  type LoadOptions,
  loadComponents,
  placeOptions,
} from "../components/load.js";
import { PIPELINE_MODEL_OPTIONS } from "../components/model-options.js";
import { isFile } from "../files/is-file.js";
import { loadSingleFile, type SingleFileComponents } from "../single-file/load.js";

/**
 * Loads the components of a folder, of a repository, or of a checkpoint of training: then those that were trained from the
 * checkpoint, and the others from the base model that it names.
 *
 * @throws as `loadComponents`; where the base model is not found, with the checkpoint named
 */
export async function loadParts<C extends object>(
  description: PipelineDescription<C>,
  pathOrId: string,
  options: LoadOptions<C> = {} as LoadOptions<C>,
): Promise<C> {
  checkNames(componentNames(description), options);
  const checkpoint = await checkpointAt(pathOrId);
  return checkpoint
    ? await loadCheckpoint(description, checkpoint, options)
    : await loadComponents(description, pathOrId, options);
}

async function loadCheckpoint<C extends object>(
  description: PipelineDescription<C>,
  checkpoint: Checkpoint,
  options: LoadOptions<C>,
): Promise<C> {
  const { model, revision, variant, config } = checkpoint.base;
  const described = describedBy(checkpoint, description);
  const chosen: FromPretrainedOptions = { ...(variant !== undefined && { variant }), ...options };
  const parts = {
    ...(await partsOfCheckpoint(checkpoint, description, placeOptions(chosen))),
    ...only(options, componentNames(description)),
  };
  return await withBase(checkpoint, async () => {
    if (!(await isFile(model)))
      return await loadComponents(described, model, {
        ...chosen,
        ...(revision !== undefined && { revision }),
        ...parts,
      } as LoadOptions<C>);
    const { cacheDir, token, localFilesOnly, onProgress } = options;
    return (await loadSingleFile(described as unknown as PipelineDescription<SingleFileComponents>, model, {
      ...only(options, PIPELINE_MODEL_OPTIONS),
      ...{ config, revision, cacheDir, token, localFilesOnly, onProgress },
      ...parts,
    })) as unknown as C;
  });
}

/** The options with these names that have a value. */
function only(options: object, names: object): object {
  const given = Object.entries(options).filter(([name, value]) => value !== undefined && Object.hasOwn(names, name));
  return Object.fromEntries(given);
}

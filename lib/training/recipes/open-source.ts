import type { PipelineDescription } from "../../components/description.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { isFile } from "../../files/is-file.js";
import type { BaseComponents, BaseLocation, BaseSource } from "./base-source.js";
import { FileSource } from "./file-source.js";
import { FolderSource } from "./folder-source.js";

/**
 * Checks the options for where the base model is, without a look at the hub.
 *
 * @throws `ERR_INVALID_ARGUMENT` for one that is of no use with a single file, or only with one
 */
export async function checkLocation(location: BaseLocation): Promise<void> {
  const refuse = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
  const { config, variant, nonEmaRevision } = location;
  if (!(await isFile(location.pretrainedModelNameOrPath))) {
    if (config !== undefined) throw refuse("config is for a model in a single file, but the model is none");
    return;
  }
  for (const [name, value] of Object.entries({ variant, nonEmaRevision }))
    if (value !== undefined) throw refuse(`${name} chooses among weights of a repository, but the model is a file`);
}

/** The base model in a folder, a repository or a single file, before weights are read. */
export async function openSource<C extends BaseComponents>(
  description: PipelineDescription<C>,
  location: BaseLocation,
): Promise<BaseSource<C>> {
  await checkLocation(location);
  const single = await isFile(location.pretrainedModelNameOrPath);
  return single ? FileSource.open(description, location) : FolderSource.open(description, location);
}

import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { BASE_MODEL, type BaseModel } from "../components/model-index.js";
import { modelIndexText } from "../components/save.js";
import type { TrainOptions } from "./options.js";
import type { EditModels } from "./recipes/edit/models.js";
import type { Suffix, TrainedFiles } from "./trained-files.js";
import { splitByModel } from "./trainer.js";

/**
 * The `model_index.json` of a checkpoint: that of the pipeline which is saved at the end, and where the components are that the
 * checkpoint does not hold.
 */
export async function checkpointIndex(models: EditModels, files: TrainedFiles, options: TrainOptions): Promise<string> {
  const base = await baseModel(files, options.useEma ? "_ema" : "", options);
  return modelIndexText(models.pipeline(splitByModel({})), { [BASE_MODEL]: base });
}

/** Where the components are of a folder that holds what was trained, and nothing else. */
export async function baseModel(files: TrainedFiles, suffix: Suffix, options: TrainOptions): Promise<BaseModel> {
  const { pretrainedModelNameOrPath, pretrainedVaeModelNameOrPath, revision, variant, config } = options;
  return {
    model: await absolute(pretrainedModelNameOrPath),
    ...(revision !== undefined && { revision }),
    ...(variant !== undefined && { variant }),
    ...(config !== undefined && { config: await absolute(config) }),
    ...(pretrainedVaeModelNameOrPath !== undefined && { vae: await absolute(pretrainedVaeModelNameOrPath) }),
    ...files.place(suffix),
  };
}

/** An absolute path of what is on the disk, since a later program may run elsewhere; the id of a repository as it is. */
async function absolute(pathOrId: string): Promise<string> {
  return (await stat(pathOrId).catch(() => undefined)) ? resolve(pathOrId) : pathOrId;
}

import { dirname, isAbsolute, join } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { isFile } from "../files/is-file.js";
import { AdaptedModelAt } from "./adapted-model-at.js";
import { checkClass, type PipelineDescription, settingIn, settingsOf, slotsOf } from "./description.js";
import { ModelAt, type PlaceOptions } from "./model-at.js";
import { BASE_MODEL, type BaseModel, MODEL_INDEX, type ModelIndex, readModelIndex } from "./model-index.js";

/** A checkpoint of training, which has the components that were trained and names the model that has the others. */
export interface Checkpoint {
  readonly folder: string;
  readonly index: ModelIndex;
  readonly base: BaseModel;
}

/** The checkpoint in a folder; undefined for whole models, for whatever is no folder, and for repositories of the hub. */
export async function checkpointAt(path: string): Promise<Checkpoint | undefined> {
  if (typeof path !== "string" || !(await isFile(join(path, MODEL_INDEX)))) return undefined;
  const index = await readModelIndex(path);
  return index.base && { folder: path, index, base: index.base };
}

/**
 * A pipeline's description for the base model of a checkpoint: it may name another class, such as the text-to-image model
 * that training began with. The components are checked as the checkpoint's.
 */
export function describedBy<C>({ index }: Checkpoint, description: PipelineDescription<C>): PipelineDescription<C> {
  checkClass(description, index);
  const { accepts: _, ...rest } = description;
  return { ...rest, check: (configs) => description.check?.(configs, index) };
}

/**
 * What a checkpoint has of a pipeline: the trained models, another autoencoder than the base model's, settings, and null for
 * what the model lacks that is saved in the end. They are given to the loading of the base model.
 *
 * @throws as {@link ModelAt.find}
 */
export async function partsOfCheckpoint<C>(
  { folder, index, base }: Checkpoint,
  description: PipelineDescription<C>,
  hub: PlaceOptions,
): Promise<Record<string, unknown>> {
  const { trained, vae, lora } = base;
  const parts: Record<string, unknown> = {};
  for (const [name, slot] of slotsOf(description)) {
    if (lora !== undefined && (name === "unet" || name === "textEncoder" || name === "textEncoder2")) {
      const adapted = await AdaptedModelAt.findAdapted(folder, { ...base, lora }, slot, name, hub);
      if (adapted) parts[String(name)] = adapted;
      continue;
    }
    const own = Object.hasOwn(trained, slot.folder) ? join(folder, trained[slot.folder]!) : undefined;
    const place = own ?? (slot.folder === "vae" ? vae : undefined);
    if (place !== undefined) parts[String(name)] = await ModelAt.find(place, slot, hub);
    else if (slot.optional && !index.components.get(slot.folder)) parts[String(name)] = null;
  }
  for (const [name, setting] of settingsOf(description)) parts[String(name)] = settingIn(index, setting);
  return parts;
}

/**
 * Loads from the base model of a checkpoint.
 *
 * @throws what `load` throws; if that is because the base model is not found, with the checkpoint named and what to do
 */
export async function withBase<T>({ folder, base: { model } }: Checkpoint, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (!isInstructPix2PixError(error, "ERR_FILE_NOT_FOUND") && !isInstructPix2PixError(error, "ERR_HUB")) throw error;
    const local = isAbsolute(model);
    const where = local ? `at ${quote(model)} (a link is enough)` : `${quote(model)} of the Hugging Face hub`;
    throw new InstructPix2PixError(
      error.code,
      `${error.message}; ${folder} is a checkpoint, which needs its base model ${where}, as ${BASE_MODEL} in its ${MODEL_INDEX} says; the model that training saves in ${dirname(folder)} needs none`,
      { cause: error },
    );
  }
}

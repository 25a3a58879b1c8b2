import { InstructPix2PixError } from "../../../core/errors.js";
import { isFile } from "../../../files/is-file.js";
import { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { ModelOptions } from "../../../models/pretrained.js";
import { INSTRUCT_PIX2PIX, STABLE_DIFFUSION_SLOTS } from "../../../pipelines/components.js";
import type { BaseLocation } from "../base-source.js";
import { loadParts, modelOptions } from "../edit/models.js";
import { FolderSource } from "../folder-source.js";
import { FrozenModels, loadAll } from "../frozen-models.js";
import type { Recipe } from "../recipe.js";
import { BASE } from "./base.js";
import { FileSource } from "./file-source.js";
import { type StableDiffusionFrozen, StableDiffusionModels } from "./models.js";

/** diffusers' `train_instruct_pix2pix.py`, which trains InstructPix2Pix with Stable Diffusion. */
export const instructPix2Pix = {
  base: "Stable Diffusion",
  pipeline: INSTRUCT_PIX2PIX.className,
  tags: ["instruct-pix2pix", "stable-diffusion"],
  folders: Object.values(STABLE_DIFFUSION_SLOTS).map(({ folder }) => folder),
  ownOptions: ["config", "trainTextEncoder", "valImageUrl", "validationEpochs"],
  validationImage: "valImageUrl",
  validationInterval: ({ validationEpochs }) => ({ epochs: validationEpochs }),
  rules: () => ({
    samplesOriginals: false,
    lrHorizon: 1,
    skipsFinishedBatches: true,
    meanOfShortWindows: false,
    validatesPerMicroStep: false,
  }),
  check: checkLocation,

  async load(options, place) {
    const { trainTextEncoder } = options;
    const { frozenDType, trained } = place;
    const source = await openSource({ ...options, signal: place.signal });
    const ofText: ModelOptions = { ...modelOptions(place), dtype: trainTextEncoder ? "float32" : frozenDType };
    const loadVae = () => source.load("vae", { ...modelOptions(place), dtype: frozenDType });
    const loadTextEncoder = () =>
      trained?.textEncoder
        ? CLIPTextModel.fromPretrained(trained.textEncoder, ofText)
        : source.load("textEncoder", ofText);
    const frozen = new FrozenModels<StableDiffusionFrozen & Record<string, Disposable>>(() =>
      trainTextEncoder ? loadAll({ vae: loadVae }) : loadAll({ textEncoder: loadTextEncoder, vae: loadVae }),
    );
    const parts = await loadParts(source, frozen, place);
    try {
      return new StableDiffusionModels(parts, place, trainTextEncoder ? await loadTextEncoder() : null);
    } catch (error) {
      await frozen.release();
      parts.unet.dispose();
      throw error;
    }
  },
} satisfies Recipe;

/**
 * Checks the options for where the base model is, without a look at the hub.
 *
 * @throws `ERR_INVALID_ARGUMENT` for one that is of no use with a single file, or only with one
 */
async function checkLocation(location: BaseLocation): Promise<void> {
  const refuse = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
  const { config, variant, nonEmaRevision } = location;
  if (!(await isFile(location.pretrainedModelNameOrPath))) {
    if (config !== undefined) throw refuse("config is for a model in a single file, but the model is none");
    return;
  }
  for (const [name, value] of Object.entries({ variant, nonEmaRevision }))
    if (value !== undefined) throw refuse(`${name} chooses among weights of a repository, but the model is a file`);
}

async function openSource(location: BaseLocation) {
  await checkLocation(location);
  const single = await isFile(location.pretrainedModelNameOrPath);
  return single ? FileSource.open(location) : FolderSource.open(BASE, location);
}

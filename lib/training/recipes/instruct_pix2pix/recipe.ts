import { INSTRUCT_PIX2PIX, STABLE_DIFFUSION_SLOTS } from "../../../pipelines/components.js";
import { SAFETY_SLOTS } from "../../../pipelines/safety.js";
import { loadParts, modelOptions } from "../edit/models.js";
import { textEncoderLoader } from "../edit/text-encoder.js";
import { FrozenModels, loadAll } from "../frozen-models.js";
import { checkLocation, openSource } from "../open-source.js";
import type { Recipe } from "../recipe.js";
import { BASE } from "./base.js";
import { type StableDiffusionFrozen, StableDiffusionModels } from "./models.js";

/** diffusers' `train_instruct_pix2pix.py`, which trains InstructPix2Pix with Stable Diffusion. */
export const instructPix2Pix = {
  base: "Stable Diffusion",
  pipeline: INSTRUCT_PIX2PIX.className,
  tags: ["instruct-pix2pix", "stable-diffusion"],
  folders: Object.values({ ...STABLE_DIFFUSION_SLOTS, ...SAFETY_SLOTS }).map(({ folder }) => folder),
  ownOptions: ["valImageUrl", "validationEpochs"],
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
    const { frozenDType } = place;
    const source = await openSource(BASE, { ...options, signal: place.signal });
    const loadVae = () => source.load("vae", { ...modelOptions(place), dtype: frozenDType });
    const loadTextEncoder = textEncoderLoader("textEncoder", place, trainTextEncoder, (name, how) =>
      source.load(name, how),
    );
    const frozen = new FrozenModels<StableDiffusionFrozen & Record<string, Disposable>>(() =>
      trainTextEncoder ? loadAll({ vae: loadVae }) : loadAll({ textEncoder: loadTextEncoder, vae: loadVae }),
    );
    const parts = await loadParts(source, frozen, place, {
      frozenDTypes: { vae: frozenDType, ...(!trainTextEncoder && { textEncoder: frozenDType }) },
      trained: trainTextEncoder ? ["textEncoder"] : [],
      ...{ predictionType: options.predictionType, zeroTerminalSnr: options.zeroTerminalSnr },
    });
    try {
      return new StableDiffusionModels(parts, place, trainTextEncoder ? await loadTextEncoder() : null);
    } catch (error) {
      await frozen.release();
      parts.unet.dispose();
      throw error;
    }
  },
} satisfies Recipe;

import { slotsOf } from "../../../components/description.js";
import type { ModelDType } from "../../../core/tensor.js";
import { checkTexts } from "../../../pipelines/stable_diffusion_xl/components.js";
import type { TrainOptions } from "../../options.js";
import type { TextEncoders } from "../../trainer.js";
import { loadParts, modelOptions } from "../edit/models.js";
import { textEncoderLoader } from "../edit/text-encoder.js";
import { FrozenModels, loadAll } from "../frozen-models.js";
import { checkLocation, openSource } from "../open-source.js";
import type { Recipe } from "../recipe.js";
import { BASE, type XLBaseComponents } from "./base.js";
import { type StableDiffusionXLFrozen, StableDiffusionXLModels } from "./models.js";
import { withAutoencoder } from "./other-autoencoder.js";

const DTYPES: Record<TrainOptions["vaePrecision"], ModelDType> = { fp32: "float32", fp16: "float16", bf16: "bfloat16" };

/** diffusers' `train_instruct_pix2pix_sdxl.py`, which trains InstructPix2Pix with Stable Diffusion XL. */
export const instructPix2PixXL = {
  base: "Stable Diffusion XL",
  pipeline: BASE.className,
  tags: ["instruct-pix2pix", "stable-diffusion-xl"],
  folders: slotsOf<XLBaseComponents>(BASE).map(([, { folder }]) => folder),
  ownOptions: [
    "cropsCoordsTopLeftH",
    "cropsCoordsTopLeftW",
    "pretrainedVaeModelNameOrPath",
    "vaePrecision",
    "valImageUrlOrPath",
    "validationSteps",
  ],
  validationImage: "valImageUrlOrPath",
  validationInterval: ({ validationSteps }) => ({ steps: validationSteps }),
  rules: ({ compat, gradientAccumulationSteps }) => ({
    samplesOriginals: compat !== undefined,
    lrHorizon: compat ? gradientAccumulationSteps : 1,
    skipsFinishedBatches: false,
    meanOfShortWindows: compat === undefined,
    validatesPerMicroStep: compat !== undefined,
  }),
  check: checkLocation,

  async load(options, place) {
    const { compat, pretrainedVaeModelNameOrPath: otherVae, variant, nonEmaRevision } = options;
    const location = { ...options, signal: place.signal };
    // The script reads this option and ignores it.
    const base = await openSource(BASE, { ...location, ...(compat && { nonEmaRevision: undefined }) });
    const source = otherVae === undefined ? base : await withAutoencoder(base, otherVae, location);
    const model = modelOptions(place);
    const textDType = place.frozenDType;
    const { trainTextEncoder } = options;
    const loadText = () => ({
      textEncoder: textEncoderLoader("textEncoder", place, trainTextEncoder, (name, how) => source.load(name, how)),
      textEncoder2: textEncoderLoader("textEncoder2", place, trainTextEncoder, (name, how) => source.load(name, how)),
    });
    // The script ignores the precision of another autoencoder.
    const vaeDType = compat && otherVae !== undefined ? place.frozenDType : DTYPES[options.vaePrecision];
    const ofVae = { ...model, dtype: vaeDType };
    const loadVae = () => source.load("vae", ofVae);
    const frozen = new FrozenModels<StableDiffusionXLFrozen & Record<string, Disposable>>(() =>
      loadAll({ ...(!trainTextEncoder && loadText()), vae: loadVae }),
    );
    const parts = await loadParts(source, frozen, place, {
      frozenDTypes: { vae: vaeDType, ...(!trainTextEncoder && { textEncoder: textDType, textEncoder2: textDType }) },
      trained: trainTextEncoder ? ["textEncoder", "textEncoder2"] : [],
      ...{ predictionType: options.predictionType, zeroTerminalSnr: options.zeroTerminalSnr },
      unetOptions: nonEmaRevision === undefined ? { variant } : {},
    });
    let texts: TextEncoders = {};
    try {
      if (trainTextEncoder) texts = await loadAll(loadText());
      const { textEncoder, textEncoder2 } = (trainTextEncoder ? texts : await frozen.get()) as Required<TextEncoders>;
      const configs = { unet: parts.unet.config, textEncoder: textEncoder.config, textEncoder2: textEncoder2.config };
      // A checkpoint's UNet may be another model's.
      checkTexts({ ...configs, tokenizer: source.ready.tokenizer!, tokenizer2: source.ready.tokenizer2! }, false);
      return new StableDiffusionXLModels(parts, options, place, texts);
    } catch (error) {
      await frozen.release();
      for (const model of Object.values(texts)) model?.dispose();
      parts.unet.dispose();
      throw error;
    }
  },
} satisfies Recipe;

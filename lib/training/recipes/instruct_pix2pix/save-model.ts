import { join } from "node:path";
import type { ComponentClass } from "../../../components/model-index.js";
import { registeredClass } from "../../../components/registry.js";
import { copiedComponent, type SavedComponent, saveComponents } from "../../../components/save.js";
import type { Tensor } from "../../../core/tensor.js";
import type { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { PretrainedModel } from "../../../models/pretrained.js";
import { writeModel } from "../../../models/save.js";
import type { UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import { INSTRUCT_PIX2PIX } from "../../../pipelines/components.js";

/** The content of a saved pipeline. */
export interface PipelineParts {
  /** The base model's folder. */
  base: string;
  variant?: string;
  unet: UNet2DConditionModel;
  /** Null if not trained: the base model's is copied. */
  textEncoder: CLIPTextModel | null;
  /** EMA weights by model. */
  weights: { unet: Record<string, Tensor>; textEncoder: Record<string, Tensor> };
  /** The scheduler's class in diffusers. */
  scheduler: string;
  /** The text of README.md. */
  card: string;
}

export const MODEL_CARD = "README.md";

/**
 * Writes a complete InstructPix2Pix pipeline that diffusers loads: the trained models, and byte-identical copies of the
 * base model's frozen components. An existing model is kept until the new one is entirely on the disk.
 *
 * @throws `ERR_IO`, with nothing unfinished left behind
 */
export function savePipeline(outputDir: string, parts: PipelineParts): Promise<void> {
  const { base, variant, unet, textEncoder, weights } = parts;
  const slots = INSTRUCT_PIX2PIX.components;
  const copied = (part: keyof typeof slots, { library, className }: ComponentClass) =>
    copiedComponent({ library, className }, join(base, slots[part].folder), variant);
  return saveComponents(outputDir, {
    className: INSTRUCT_PIX2PIX.className,
    settings: { requires_safety_checker: false },
    components: {
      feature_extractor: null,
      image_encoder: null,
      safety_checker: null,
      [slots.vae.folder]: copied("vae", registeredClass("AutoencoderKL")),
      [slots.textEncoder.folder]: textEncoder
        ? trained(textEncoder, weights.textEncoder)
        : copied("textEncoder", registeredClass("CLIPTextModel")),
      [slots.tokenizer.folder]: copied("tokenizer", registeredClass("CLIPTokenizer")),
      [slots.unet.folder]: trained(unet, weights.unet),
      [slots.scheduler.folder]: copied("scheduler", { library: "diffusers", className: parts.scheduler }),
    },
    files: { [MODEL_CARD]: parts.card },
  });
}

/** A model with other weights than its own, such as their average. */
function trained({ format, config }: PretrainedModel<object>, weights: Record<string, Tensor>): SavedComponent {
  const { library, kind: className } = format;
  return { library, className, write: (folder) => writeModel(folder, format, config, weights) };
}

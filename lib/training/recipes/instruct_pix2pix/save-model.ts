import { type SavedComponent, saveComponents, savedPipeline } from "../../../components/save.js";
import type { Tensor } from "../../../core/tensor.js";
import type { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { PretrainedModel } from "../../../models/pretrained.js";
import { writeModel } from "../../../models/save.js";
import type { UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import { INSTRUCT_PIX2PIX } from "../../../pipelines/components.js";
import type { BaseSource } from "./base-source.js";

/** The content of a saved pipeline. */
export interface PipelineParts {
  /** The base model. */
  base: BaseSource;
  unet: UNet2DConditionModel;
  /** Null if not trained: the base model's is kept. */
  textEncoder: CLIPTextModel | null;
  /** EMA weights by model. */
  weights: { unet: Record<string, Tensor>; textEncoder: Record<string, Tensor> };
  /** The text of README.md. */
  card: string;
}

export const MODEL_CARD = "README.md";

/**
 * Writes a complete InstructPix2Pix pipeline that diffusers loads: the trained models, and the base model's frozen
 * components as they are there. An existing model is kept until the new one is entirely on the disk.
 *
 * @throws `ERR_IO`, with nothing unfinished left behind
 */
export function savePipeline(outputDir: string, parts: PipelineParts): Promise<void> {
  const { base, unet, textEncoder, weights } = parts;
  const slots = INSTRUCT_PIX2PIX.components;
  const pipeline = savedPipeline(INSTRUCT_PIX2PIX, {
    [slots.vae.folder]: base.kept("vae"),
    [slots.textEncoder.folder]: textEncoder ? trained(textEncoder, weights.textEncoder) : base.kept("textEncoder"),
    [slots.tokenizer.folder]: base.kept("tokenizer"),
    [slots.unet.folder]: trained(unet, weights.unet),
    [slots.scheduler.folder]: base.kept("scheduler"),
  });
  return saveComponents(outputDir, { ...pipeline, files: { [MODEL_CARD]: parts.card } });
}

/** A model with other weights than its own, such as their average. */
function trained({ format, config }: PretrainedModel<object>, weights: Record<string, Tensor>): SavedComponent {
  const { library, kind: className } = format;
  return { library, className, write: (folder) => writeModel(folder, format, config, weights) };
}

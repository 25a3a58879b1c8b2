import { type SavedComponent, type SavedPipeline, saveComponents } from "../../../components/save.js";
import type { Tensor } from "../../../core/tensor.js";
import type { PretrainedModel } from "../../../models/pretrained.js";
import { writeModel } from "../../../models/save.js";

export const MODEL_CARD = "README.md";

/**
 * Writes a complete pipeline that diffusers loads, with a model card. An existing model is kept until the new one is
 * entirely on the disk.
 *
 * @param card the text of README.md
 * @throws `ERR_IO`, with nothing unfinished left behind
 */
export function savePipeline(outputDir: string, pipeline: SavedPipeline, card: string): Promise<void> {
  return saveComponents(outputDir, { ...pipeline, files: { [MODEL_CARD]: card } });
}

/** A model with other weights than its own, such as their average. */
export function trainedComponent(
  { format, config }: PretrainedModel<object>,
  weights: Record<string, Tensor>,
): SavedComponent {
  const { library, kind: className } = format;
  return { library, className, write: (folder) => writeModel(folder, format, config, weights) };
}

import { readPipelineIndex } from "../../components/pipeline-class.js";
import { isFile } from "../../files/is-file.js";
import { openSingleFile } from "../../single-file/file.js";
import { isXLFamily } from "../../single-file/layout.js";
import type { TrainOptions } from "../options.js";
import { instructPix2Pix } from "./instruct_pix2pix/recipe.js";
import { instructPix2PixXL } from "./instruct_pix2pix_sdxl/recipe.js";
import type { Recipe } from "./recipe.js";

/** Every recipe. */
export const RECIPES: readonly Recipe[] = [instructPix2Pix, instructPix2PixXL];

/**
 * The recipe of a run, by its base model: that for Stable Diffusion XL if it has a second text encoder. Of a single file only the
 * header is read, of a repository only the index is downloaded.
 *
 * @throws as opening a single file, and as reading a pipeline's index
 */
export async function recipeFor(
  { pretrainedModelNameOrPath: base, revision, cacheDir, hubToken: token }: TrainOptions,
  signal: AbortSignal | undefined,
): Promise<Recipe> {
  if (await isFile(base)) return isXLFamily((await openSingleFile(base)).family) ? instructPix2PixXL : instructPix2Pix;
  const { components } = await readPipelineIndex(base, { revision, cacheDir, token, signal });
  return components.get("text_encoder_2") ? instructPix2PixXL : instructPix2Pix;
}

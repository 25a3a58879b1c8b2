import { instructPix2Pix } from "./instruct_pix2pix/recipe.js";
import type { Recipe } from "./recipe.js";

/** The recipe of a run. */
export function recipeFor(): Recipe {
  return instructPix2Pix;
}

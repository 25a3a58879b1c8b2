import { InstructPix2PixError } from "../core/errors.js";
import type { TrainOptions } from "./options.js";
import type { Recipe } from "./recipes/recipe.js";

/**
 * Checks for combinations of options that are contradictory or not supported by any recipe.
 *
 * @throws `ERR_INVALID_ARGUMENT`
 */
export function checkTogether(options: TrainOptions): void {
  const refuse = (message: string): never => {
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", message);
  };
  if (options.datasetName === undefined && options.trainDataDir === undefined)
    refuse("give a data set: datasetName or trainDataDir");
  if (options.pretrainedModelNameOrPath.trim() === "") refuse("pretrainedModelNameOrPath is empty");
  if (options.lrScheduler === "piecewise_constant" && options.lrStepRules === undefined)
    refuse('lrScheduler "piecewise_constant" needs lrStepRules, e.g. "1:10,0.1:20,0.01"');
  if (options.lrStepRules !== undefined && options.lrScheduler !== "piecewise_constant")
    refuse('lrStepRules are the rules of lrScheduler "piecewise_constant", which was not asked for');
  if (options.compat !== "diffusers") return;
  const uncovered = {
    dataloaderNumWorkers: options.dataloaderNumWorkers > 0,
    maxTrainSamples: options.maxTrainSamples !== undefined,
    mixedPrecision: options.mixedPrecision !== "no",
    use8bitAdam: options.use8bitAdam,
    trainTextEncoder: options.trainTextEncoder,
    timestepBiasStrategy: options.timestepBiasStrategy !== "none",
    seed: options.seed === undefined,
  };
  for (const [name, given] of Object.entries(uncovered))
    if (given)
      refuse(
        name === "seed"
          ? "compat needs a seed: without one the reference does not run"
          : `compat does not cover ${name}; leave one of them out`,
      );
}

/** Checks options by the recipe. @throws `ERR_INVALID_ARGUMENT` for one that only other recipes take */
export function checkForRecipe(options: TrainOptions, recipe: Recipe): void {
  const { validationImage } = recipe;
  if ((options[validationImage] === undefined) !== (options.validationPrompt === undefined))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `validation needs both ${validationImage} and validationPrompt`,
    );
}

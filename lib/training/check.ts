import { InstructPix2PixError } from "../core/errors.js";
import type { OptionDeclaration } from "../options/declaration.js";
import { camelCase } from "../options/names.js";
import { type TrainOptions, trainOptions } from "./options.js";
import type { Recipe } from "./recipes/recipe.js";
import { RECIPES } from "./recipes/registry.js";

const DECLARATIONS = new Map(
  Object.entries<OptionDeclaration>(trainOptions).map(([name, declaration]) => [camelCase(name), declaration]),
);

const LORA_OPTIONS = ["rank", "loraAlpha", "loraDropout", "loraTargets", "loraFormat"] as const;

const RECIPE_OPTIONS = [
  ...(["snrGamma", "predictionType", "zeroTerminalSnr", "noiseOffset", "inputPerturbation", "lossType"] as const),
  ...(["textDropoutProb", "imageDropoutProb", "bothDropoutProb", "optimizer"] as const),
];

/** A switch is off by default. */
function fallbackOf(name: keyof TrainOptions): unknown {
  const { type, default: value } = DECLARATIONS.get(name)!;
  return value ?? (type === "boolean" ? false : undefined);
}

/** What scripts call by different names. */
const COUNTERPARTS: Partial<Record<keyof TrainOptions, keyof TrainOptions>> = {
  valImageUrl: "valImageUrlOrPath",
  valImageUrlOrPath: "valImageUrl",
  validationEpochs: "validationSteps",
  validationSteps: "validationEpochs",
};

/**
 * Checks for combinations of options that are contradictory or not supported by any recipe.
 *
 * @throws `ERR_INVALID_ARGUMENT`
 */
export function checkTogether(options: TrainOptions): void {
  const refuse = (message: string): never => {
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", message);
  };
  if (options.datasetName === undefined && options.trainDataDir === undefined && options.trainShards === undefined)
    refuse("give a data set: datasetName, trainDataDir or trainShards");
  if (options.trainShards !== undefined && (options.datasetName ?? options.trainDataDir) !== undefined)
    refuse("trainShards is a data set of its own: leave datasetName and trainDataDir out");
  if (options.pretrainedModelNameOrPath.trim() === "") refuse("pretrainedModelNameOrPath is empty");
  if (options.lrScheduler === "piecewise_constant" && options.lrStepRules === undefined)
    refuse('lrScheduler "piecewise_constant" needs lrStepRules, e.g. "1:10,0.1:20,0.01"');
  if (options.lrStepRules !== undefined && options.lrScheduler !== "piecewise_constant")
    refuse('lrStepRules are the rules of lrScheduler "piecewise_constant", which was not asked for');
  if (options.weightsDtype === "bf16" && options.mixedPrecision === "fp16")
    refuse('weightsDtype "bf16" goes with mixedPrecision "bf16" or "no", not with "fp16"');
  if (options.weightsDtype === "bf16" && options.shardOptimizer)
    refuse('shardOptimizer shares float32 weights among processes, but weightsDtype "bf16" has none');
  if (options.shardOptimizer && options.optimizer === "prodigy")
    refuse("shardOptimizer gives each process some of the parameters, but prodigy looks at all of them in every step");
  if (options.shardOptimizer && options.loraDropout > 0)
    refuse("shardOptimizer does not go with loraDropout, whose step is not shared");
  if (options.releaseGradients && options.gradientAccumulationSteps > 1)
    refuse("releaseGradients frees every gradient at once, so gradientAccumulationSteps must be 1");
  if (options.releaseGradients && options.mixedPrecision === "fp16")
    refuse('releaseGradients cannot take back an update that overflows in "fp16"; use mixedPrecision "bf16"');
  if (options.releaseGradients && options.optimizer === "prodigy")
    refuse("releaseGradients updates parameters one by one, but prodigy looks at all of them in every step");
  if (options.weightsDtype === "bf16" && options.shadowWeights)
    refuse('shadowWeights keeps copies of float32 weights in half precision, but weightsDtype "bf16" has none');
  const perKind = [options.textDropoutProb, options.imageDropoutProb, options.bothDropoutProb];
  if (options.conditioningDropoutProb !== undefined && perKind.some((p) => p !== undefined))
    refuse("conditioningDropoutProb is for all kinds of dropout; leave it out, or the probabilities of single kinds");
  if (perKind.reduce<number>((sum, p) => sum + (p ?? 0), 0) > 1)
    refuse("textDropoutProb, imageDropoutProb and bothDropoutProb are more than 1 together");
  if (options.postHocEmaSteps !== undefined && !options.postHocEma)
    refuse("postHocEmaSteps is for snapshots of averages: give postHocEma too");
  if (options.offloadEma && !options.useEma && !options.postHocEma)
    refuse("offloadEma is for averages of the weights: give useEma or postHocEma too");
  if (options.offloadEma && options.shardOptimizer)
    refuse(
      "shardOptimizer gives each process a part of the averages, which offloadEma does not move; leave one of them out",
    );
  if (options.use8bitAdam && options.optimizer !== "adamw")
    refuse(`use8bitAdam is a kind of adamw, but the optimizer is ${options.optimizer}`);
  if (options.weightsDtype === "bf16" && options.optimizer !== "adamw" && !options.lora)
    refuse(`weightsDtype "bf16" is trained by adamw only, not by ${options.optimizer}`);
  if (!options.aspectRatioBuckets && options.bucketStep !== DECLARATIONS.get("bucketStep")!.default)
    refuse("bucketStep is for aspect-ratio buckets: give aspectRatioBuckets too");
  for (const name of LORA_OPTIONS)
    if (!options.lora && options[name] !== undefined && options[name] !== DECLARATIONS.get(name)!.default)
      refuse(`${name} is for a LoRA: give lora too`);
  if (options.lora && options.shadowWeights)
    refuse("shadowWeights keeps copies of weights in training, of which a LoRA leaves none");
  if (options.compat !== "diffusers") return;
  const uncovered = {
    dataloaderNumWorkers: options.dataloaderNumWorkers > 0,
    maxTrainSamples: options.maxTrainSamples !== undefined,
    aspectRatioBuckets: options.aspectRatioBuckets,
    mixedPrecision: options.mixedPrecision !== "no",
    weightsDtype: options.weightsDtype !== "fp32",
    reduceDtype: options.reduceDtype !== "fp32",
    use8bitAdam: options.use8bitAdam,
    releaseGradients: options.releaseGradients,
    trainTextEncoder: options.trainTextEncoder,
    ...Object.fromEntries(
      RECIPE_OPTIONS.map((name) => [name, options[name] !== undefined && options[name] !== fallbackOf(name)]),
    ),
    loraAlpha: options.loraAlpha !== undefined && options.loraAlpha !== options.rank,
    loraDropout: options.loraDropout > 0,
    "useEma with a LoRA": options.lora && options.useEma,
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

/**
 * Checks options by the recipe. One that another recipe takes may only have its default.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option
 */
export function checkForRecipe(options: TrainOptions, recipe: Recipe): void {
  const { validationImage, base, ownOptions } = recipe;
  for (const name of RECIPES.flatMap((other) => (other === recipe ? [] : other.ownOptions))) {
    const value = options[name];
    const { default: fallback = false } = DECLARATIONS.get(name)!;
    if (ownOptions.includes(name) || value === undefined || value === fallback) continue;
    const { base: other } = RECIPES.find((each) => each.ownOptions.includes(name))!;
    const instead = COUNTERPARTS[name] ? `; give ${COUNTERPARTS[name]}` : "";
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${name} is for ${other} models, but the base model is one of ${base}${instead}`,
    );
  }
  if ((options[validationImage] === undefined) !== (options.validationPrompt === undefined))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `validation needs both ${validationImage} and validationPrompt`,
    );
}

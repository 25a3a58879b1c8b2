import { declareOptions, type OptionValues } from "../options/declaration.js";
import { optionInterface } from "../options/typescript.js";
import { checkpointOptions } from "./options/checkpoints.js";
import { dataOptions } from "./options/data.js";
import { hubOptions } from "./options/hub.js";
import { loraTrainingOptions } from "./options/lora.js";
import { memoryOptions } from "./options/memory.js";
import { modelOptions } from "./options/model.js";
import { optimizerOptions } from "./options/optimizer.js";
import { recipeOptions } from "./options/recipes.js";
import { reportingOptions } from "./options/reporting.js";
import { runOptions } from "./options/run.js";
import { stableDiffusionOptions } from "./options/stable-diffusion.js";
import { stableDiffusionXLOptions } from "./options/stable-diffusion-xl.js";
import { validationOptions } from "./options/validation.js";

/**
 * Every option of `ip2p train`: those of diffusers' training scripts with the same names and defaults, and additional
 * ones. Which of them only one recipe takes is said there ({@link Recipe}).
 */
export const trainOptions = declareOptions({
  ...modelOptions,
  ...dataOptions,
  ...runOptions,
  ...loraTrainingOptions,
  ...optimizerOptions,
  ...recipeOptions,
  ...memoryOptions,
  ...checkpointOptions,
  ...validationOptions,
  ...stableDiffusionOptions,
  ...stableDiffusionXLOptions,
  ...reportingOptions,
  ...hubOptions,
});

export type TrainOptions = OptionValues<typeof trainOptions>;

/** The source of train-input.ts, for scripts/write-docs.mjs. */
export function trainInputSource(): string {
  const doc = "The options of `train`: those of `ip2p train` in camelCase, with the same defaults.";
  return [
    "// Written by scripts/write-docs.mjs from the declarations in options.ts. Edit those, then run it.",
    "// biome-ignore-all format: it is written by a program\n",
    'import type { FactorOfStep } from "../options/declaration.js";\n',
    `${optionInterface("TrainInput", trainOptions, doc)}\n`,
  ].join("\n");
}

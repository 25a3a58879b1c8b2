import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { isRepositoryId } from "../hub/repository.js";
import { packageVersion } from "../runtime/package-version.js";
import type { TrainOptions } from "./options.js";
import type { Recipe } from "./recipes/recipe.js";

/** README.md of a trained model, with the metadata that the hub reads. Contains no local paths. */
export function modelCard(
  options: TrainOptions,
  { pipeline, tags }: Pick<Recipe, "pipeline" | "tags">,
  step: number,
  seed: bigint,
): string {
  const { pretrainedModelNameOrPath: base, datasetName } = options;
  const baseName = isOnHub(base) ? base : basename(resolve(base));
  const dataset = datasetName !== undefined && isOnHub(datasetName) ? datasetName : undefined;
  const front = [
    "---",
    "library_name: diffusers",
    ...(isOnHub(base) ? [`base_model: ${base}`] : []),
    ...(dataset === undefined ? [] : ["datasets:", `- ${dataset}`]),
    "pipeline_tag: image-to-image",
    "tags:",
    ...tags.map((tag) => `- ${tag}`),
    "- diffusers-training",
    "---",
  ];
  const settings: [string, unknown][] = [
    ["optimizer steps", step],
    ["resolution", options.resolution],
    ["batch size", options.trainBatchSize * options.gradientAccumulationSteps],
    ["learning rate", options.learningRate],
    ["schedule", typeof options.lrScheduler === "function" ? "a function of the step" : options.lrScheduler],
    ["conditioning dropout", options.conditioningDropoutProb ?? "none"],
    ["mixed precision", options.mixedPrecision],
    ["EMA weights", options.useEma ? "yes" : "no"],
    ["seed", seed],
  ];
  return `${front.join("\n")}

# InstructPix2Pix, trained from ${baseName}

Edits images by instruction. Trained on ${dataset ?? "a local data set"} with instruct-pix2pix ${packageVersion()} for Node.js.

| setting | value |
| --- | --- |
${settings.map(([name, value]) => `| ${name} | ${value} |`).join("\n")}

## Use

\`\`\`ts
import { ${pipeline} } from "instruct-pix2pix";

const pipe = await ${pipeline}.fromPretrained("this-folder-or-its-hub-id");
const { images } = await pipe.run({ prompt: "make it winter", image: "photo.jpg", numInferenceSteps: 20, seed: 0 });
await images[0].save("winter.png");
\`\`\`

\`\`\`python
from diffusers import ${pipeline}

pipe = ${pipeline}.from_pretrained("this-folder-or-its-hub-id")
\`\`\`
`;
}

/** Whether a name is a hub repository; an existing local path is not. */
function isOnHub(name: string): boolean {
  return isRepositoryId(name) && !existsSync(name);
}

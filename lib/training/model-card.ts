import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { isRepositoryId } from "../hub/repository.js";
import { packageVersion } from "../runtime/package-version.js";
import { dropoutOf } from "./dropout.js";
import type { TrainOptions } from "./options.js";
import type { Recipe } from "./recipes/recipe.js";

/** README.md of a trained model, with the metadata that the hub reads. Contains no local paths. */
export function modelCard(
  options: TrainOptions,
  { pipeline, tags }: Pick<Recipe, "pipeline" | "tags">,
  step: number,
  seed: bigint,
  extended = false,
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
    ...(options.lora ? ["- lora"] : []),
    "- diffusers-training",
    "---",
  ];
  const settings: [string, unknown][] = [
    ["optimizer steps", step],
    ["resolution", options.resolution],
    ["batch size", options.trainBatchSize * options.gradientAccumulationSteps],
    ["learning rate", options.learningRate],
    ["schedule", typeof options.lrScheduler === "function" ? "a function of the step" : options.lrScheduler],
    ["conditioning dropout", describeDropout(options)],
    ["mixed precision", options.mixedPrecision],
    ["EMA weights", options.useEma ? "yes" : "no"],
    ["seed", seed],
    ...(options.lora
      ? ([
          ["rank", options.rank],
          ["alpha", options.loraAlpha ?? options.rank],
          ["layers", options.loraTargets ?? "attention"],
        ] as [string, unknown][])
      : []),
  ];
  const what = options.lora ? "InstructPix2Pix, a LoRA" : "InstructPix2Pix, trained";
  return `${front.join("\n")}

# ${what} ${options.lora ? "for" : "from"} ${baseName}

Edits images by instruction. Trained on ${dataset ?? "a local data set"} with instruct-pix2pix ${packageVersion()} for Node.js.

| setting | value |
| --- | --- |
${settings.map(([name, value]) => `| ${name} | ${value} |`).join("\n")}

## Use

${options.lora ? useLora(pipeline, isOnHub(base) ? base : "base-model", extended) : useModel(pipeline)}`;
}

function describeDropout(options: TrainOptions): string {
  const { text, image, both } = dropoutOf(options) ?? {};
  if (text === undefined) return "none";
  return text === image && text === both ? `${text}` : `text ${text}, image ${image}, both ${both}`;
}

const RUN = `const { images } = await pipe.run({ prompt: "make it winter", image: "photo.jpg", numInferenceSteps: 20, seed: 0 });
await images[0].save("winter.png");`;

function useModel(pipeline: string): string {
  return `\`\`\`ts
import { ${pipeline} } from "instruct-pix2pix";

const pipe = await ${pipeline}.fromPretrained("this-folder-or-its-hub-id");
${RUN}
\`\`\`

\`\`\`python
from diffusers import ${pipeline}

pipe = ${pipeline}.from_pretrained("this-folder-or-its-hub-id")
\`\`\`
`;
}

/** @param extended whether the base model takes no image, so that its first convolution is in a file beside the LoRA */
function useLora(pipeline: string, base: string, extended: boolean): string {
  const local = `const pipe = await ${pipeline}.fromPretrained("this-folder"); // with the base model that it was trained on`;
  const ours = extended
    ? local
    : `const pipe = await ${pipeline}.fromPretrained("${base}");
await pipe.loadLoraWeights("this-folder-or-its-hub-id");`;
  const python = extended
    ? `from diffusers import ${pipeline}, UNet2DConditionModel
from safetensors.torch import load_file

unet = UNet2DConditionModel.from_pretrained(
    "${base}", subfolder="unet", in_channels=8, low_cpu_mem_usage=False, ignore_mismatched_sizes=True
)
unet.load_state_dict(load_file("this-folder/conv_in.safetensors"), strict=False)
pipe = ${pipeline}.from_pretrained("${base}", unet=unet)
pipe.load_lora_weights("this-folder")`
    : `from diffusers import ${pipeline}

pipe = ${pipeline}.from_pretrained("${base}")
pipe.load_lora_weights("this-folder-or-its-hub-id")`;
  return `\`\`\`ts
import { ${pipeline} } from "instruct-pix2pix";

${ours}
${RUN}
\`\`\`

\`\`\`python
${python}
\`\`\`
`;
}

/** Whether a name is a hub repository; an existing local path is not. */
function isOnHub(name: string): boolean {
  return isRepositoryId(name) && !existsSync(name);
}

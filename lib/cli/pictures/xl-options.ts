import { declareOptions, type OptionValues } from "../../options/declaration.js";
import type { PromptPairOptions, SizeOptions } from "../../pipelines/stable_diffusion_xl/options.js";
import { usage } from "./check.js";

const GROUP = "Stable Diffusion XL";

/** The options that only models of Stable Diffusion XL take, in every command. */
export const xlOptions = declareOptions({
  prompt_2: {
    type: "string",
    value: "TEXT",
    group: GROUP,
    help: "the second text encoder's prompt; by default --prompt",
  },
  negative_prompt_2: {
    type: "string",
    value: "TEXT",
    group: GROUP,
    help: "the second text encoder's negative prompt; by default --negative_prompt",
  },
  refiner: {
    type: "string",
    value: "DIR|HUB_ID|FILE",
    group: GROUP,
    help: "a refiner that takes over from the model at --denoising_end, with its latents",
  },
  denoising_end: {
    type: "number",
    min: 0,
    max: 1,
    group: GROUP,
    help: "the part of the denoising after which the refiner takes over, also called the high noise fraction; by default 0.8",
  },
  original_size: {
    type: "numbers",
    value: "HEIGHT,WIDTH",
    min: 0,
    group: GROUP,
    help: "the size that the model is told the image had before it was scaled; by default that of the result",
  },
  crops_coords_top_left: {
    type: "numbers",
    value: "TOP,LEFT",
    group: GROUP,
    help: "what the model is told was cut off; by default 0,0",
  },
  target_size: {
    type: "numbers",
    value: "HEIGHT,WIDTH",
    min: 0,
    group: GROUP,
    help: "the size that the model is told the image was scaled to; by default that of the result",
  },
});

export type XLValues = Partial<OptionValues<typeof xlOptions>>;

/** Where a refiner takes over by default. */
const DENOISING_END = 0.8;

/** The part of the denoising that the base model does; undefined without a refiner. */
export function denoisingEndOf({ refiner, denoisingEnd = DENOISING_END }: XLValues): number | undefined {
  return refiner === undefined ? undefined : denoisingEnd;
}

type Size = readonly [number, number];

/** The options of a run. */
export function xlRunOptions(values: XLValues): Pick<PromptPairOptions, "prompt2" | "negativePrompt2"> & SizeOptions {
  return {
    prompt2: values.prompt2,
    negativePrompt2: values.negativePrompt2,
    originalSize: values.originalSize as Size | undefined,
    cropsCoordsTopLeft: values.cropsCoordsTopLeft as Size | undefined,
    targetSize: values.targetSize as Size | undefined,
  };
}

/** The flags that are given, by those of the values. */
function givenFlags(values: XLValues): string[] {
  const flags = Object.keys(xlOptions).map((name) => [name, camel(name)] as const);
  return flags.flatMap(([name, key]) => (values[key] === undefined ? [] : [`--${name}`]));
}

const camel = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()) as keyof XLValues;

/** @throws `ERR_USAGE` for options that do not go together */
export function checkXLValues(values: XLValues): void {
  if (values.denoisingEnd !== undefined && values.refiner === undefined)
    throw usage("--denoising_end is where a refiner takes over: give --refiner too");
  if (values.denoisingEnd !== undefined && (values.denoisingEnd <= 0 || values.denoisingEnd >= 1))
    throw usage(`--denoising_end must be above 0 and below 1, not ${values.denoisingEnd}`);
  for (const name of ["original_size", "crops_coords_top_left", "target_size"] as const) {
    const value = values[camel(name)] as readonly number[] | undefined;
    if (value !== undefined && value.length !== 2) throw usage(`--${name} takes two numbers, not ${value.length}`);
  }
}

/** @throws `ERR_USAGE` for an option that a model of another family does not take */
export function refuseXLValues(values: XLValues): void {
  const [flag] = givenFlags(values);
  if (flag !== undefined) throw usage(`${flag} is for Stable Diffusion XL, but the model is of another family`);
}

import { checkpointAt } from "../components/checkpoint.js";
import { checkPipeline, type PipelineDescription } from "../components/description.js";
import { neededFolders } from "../components/load.js";
import { MODEL_INDEX } from "../components/model-index.js";
import { readPipelineClass } from "../components/pipeline-class.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Generator } from "../core/generator.js";
import { Scope } from "../core/scope.js";
import { resolvePretrained } from "../hub/index.js";
import type { RgbImage } from "../images/index.js";
import { scaleFactorOf } from "../models/autoencoder-config.js";
import { builtInModel } from "../models/built-in.js";
import type { StableDiffusionComponents } from "../pipelines/components.js";
import { toPictures } from "../pipelines/latents.js";
import { type SizedModels, trainedSize } from "../pipelines/size.js";
import { InstructPix2PixPipeline } from "../pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { schedulerFromClassName } from "../schedulers/registry.js";
import type { CheckedOptions, EvaluateOptions, InstructionEditor } from "./options.js";
import { type Planes, planesOfTensor } from "./planes.js";

/** Options of loading a model. */
type LoadingOptions = Pick<
  EvaluateOptions,
  "scheduler" | "dtype" | "quantization" | "device" | "revision" | "variant" | "cacheDir" | "localFilesOnly" | "signal"
>;

/** Classes of folders that edit by instruction, and the one that loads each. */
const CLASSES = {
  StableDiffusionInstructPix2PixPipeline: InstructPix2PixPipeline,
  StableDiffusionXLInstructPix2PixPipeline,
};

/**
 * What loads the model of an evaluation, once its configurations are known to be those of one that edits, at this resolution.
 *
 * @throws `ERR_CONFIG` for another class, `ERR_INVALID_ARGUMENT` for an unknown scheduler or a resolution that the model cannot
 *   make; and as `fromPretrained`
 */
export async function findModel(options: CheckedOptions): Promise<() => Promise<InstructionEditor>> {
  const { model } = options;
  if (typeof model !== "string") {
    resolutionOf(model, options.resolution);
    return async () => model;
  }
  const scheduler = options.scheduler === undefined ? undefined : schedulerFromClassName(options.scheduler);
  const { revision, cacheDir, localFilesOnly, signal } = options;
  const hub = defined({ revision, cacheDir, localFilesOnly, signal });
  const className = await readPipelineClass(model, hub);
  if (!Object.hasOwn(CLASSES, className))
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `model: names a ${className}, which does not edit by instruction; ${Object.keys(CLASSES).join(" and ")} do`,
    );
  const sizes = await checkedSizes(model, CLASSES[className as keyof typeof CLASSES], hub);
  if (sizes) resolutionOf(sizes, options.resolution);
  const { dtype, device, quantization, variant } = options;
  const own = defined({ dtype, device, quantization, variant });
  return async () => {
    // Black images would be measured as bad edits.
    const pipeline =
      className === InstructPix2PixPipeline.description.className
        ? await InstructPix2PixPipeline.fromPretrained(model, { ...hub, ...own, safetyChecker: false })
        : await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(model, { ...hub, ...own });
    if (scheduler) pipeline.scheduler = scheduler.fromConfig(pipeline.scheduler.config);
    return pipeline;
  };
}

/** What an evaluation does without. */
const NOT_NEEDED = { safetyChecker: null, featureExtractor: null };

/**
 * Checks the configurations of a model, as loading does, before anything else is loaded.
 *
 * @returns what says the size of its images; undefined for a checkpoint of training, of which loading checks the base model
 * @throws as `fromPretrained`
 */
async function checkedSizes(
  model: string,
  pipelineClass: (typeof CLASSES)[keyof typeof CLASSES],
  hub: Pick<EvaluateOptions, "revision" | "cacheDir" | "localFilesOnly" | "signal">,
): Promise<SizedModels | undefined> {
  if (await checkpointAt(model)) return undefined;
  const description = pipelineClass.description as unknown as PipelineDescription<StableDiffusionComponents>;
  const given = "safetyChecker" in description.components ? NOT_NEEDED : {};
  const { components = [] } = neededFolders(description, given);
  const texts = components.flatMap((name) => [`${name}/*.json`, `${name}/*.txt`]);
  const folder = await resolvePretrained(model, { ...hub, allowPatterns: [MODEL_INDEX, ...texts] });
  const { unet, vae } = (await checkPipeline(description, folder, given)).configs;
  return { unet: { config: unet }, vae: { scaleFactor: scaleFactorOf(vae) } };
}

/**
 * The pipeline that edits the drawn world.
 *
 * @param model a folder, or an id on the hub; default the built-in one
 * @throws `ERR_INVALID_ARGUMENT` for an unknown scheduler; and as `fromPretrained`
 */
export async function loadWorldModel({
  model = builtInModel,
  scheduler,
  ...options
}: LoadingOptions & { model?: string | undefined }): Promise<InstructPix2PixPipeline> {
  const type = scheduler === undefined ? undefined : schedulerFromClassName(scheduler);
  const pipeline = await InstructPix2PixPipeline.fromPretrained(model, { ...defined(options), safetyChecker: false });
  if (type) pipeline.scheduler = type.fromConfig(pipeline.scheduler.config);
  return pipeline;
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** Edges of the images that are edited, in pixels. @throws `ERR_INVALID_ARGUMENT` */
export function resolutionOf({ unet, vae }: SizedModels, given: number | undefined): number {
  const resolution = given ?? Math.min(...Object.values(trainedSize({ unet, vae }) ?? {}));
  if (!Number.isFinite(resolution))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      "give resolution: the UNet's configuration does not say what size it was trained for",
    );
  const { scaleFactor: factor } = vae;
  if (resolution % factor !== 0)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `resolution must be a multiple of ${factor}, not ${resolution}`,
    );
  return resolution;
}

/** An edit that is asked for. */
export interface AskedEdit {
  image: RgbImage;
  prompt: string;
  imageGuidanceScale: number;
  guidanceScale: number;
  numInferenceSteps: number;
  seed: number;
  signal?: AbortSignal | undefined;
}

/** The result of an edit, before and after its values become bytes. */
export async function edited(
  pipeline: InstructionEditor,
  { seed, ...call }: AskedEdit,
): Promise<{ planes: Planes; picture: RgbImage }> {
  using scope = new Scope();
  const generator = new Generator("cpu", seed);
  const options = { ...call, generator, outputType: "tensor" } as const;
  const { height, width } = call.image;
  const { images } =
    pipeline instanceof StableDiffusionXLInstructPix2PixPipeline
      ? await pipeline.run({ ...options, height, width })
      : await pipeline.run(options);
  const tensor = scope.add(images);
  const [picture] = await toPictures(tensor);
  return { planes: await planesOfTensor(tensor), picture: picture! };
}

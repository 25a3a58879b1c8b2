import { InstructPix2PixError } from "../../core/errors.js";
import { cannyEdges } from "../../images/canny.js";
import { loadImage, type RgbImage } from "../../images/index.js";
import { sizeForFactor } from "../../images/resize.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import type { ControlNetConfig } from "../../models/controlnet-config.js";
import type { ControlNetOptions } from "../../pipelines/controlnet/options.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { ModelConfigs, PictureJob } from "../pictures/job.js";
import { sizeText } from "../pictures/stretching.js";
import type { AnyControlled, Kind } from "./kinds.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

/** Reads control images, and finds edges in those that are to be edges. */
export async function controlPictures(
  values: GenerateValues,
  image: RgbImage | undefined,
  signal: AbortSignal | undefined,
): Promise<RgbImage[]> {
  const { controlnet = [], control = ["none"], controlImage, cannyLowThreshold, cannyHighThreshold } = values;
  const pictures: RgbImage[] = [];
  for (const i of controlnet.keys()) {
    const picture = controlImage ? await loadImage(controlImage[i]!, { signal }) : image!;
    const edges = control[control.length === 1 ? 0 : i] === "canny";
    const found = edges && (await cannyEdges(picture, cannyLowThreshold, cannyHighThreshold, signal ? { signal } : {}));
    pictures.push(found || picture);
  }
  return pictures;
}

/** Makes images that ControlNets lead, from text or from an image. */
export function controlled(
  values: GenerateValues,
  kind: Kind,
  { image, pictures }: { image: RgbImage | undefined; pictures: readonly RgbImage[] },
): PictureJob<LatentPipeline & AnyControlled> {
  const nets = values.controlnet!;
  const { height, width, clipSkip, strength = 0.8 } = values;
  const control = nets.length === 1 ? pictures[0]! : pictures;
  return {
    pipelineClass: image ? kind.controlledImageToImage : kind.controlledTextToImage,
    given: { controlnet: nets.length === 1 ? nets[0]! : nets },
    original: image,
    checkModel(configs) {
      checkChannels((configs as ModelConfigs & Controlled).controlnet);
      checkTextGuidance(values, kind.layers(configs));
      checkSizes(values, image ? [image, ...pictures] : pictures, scaleFactorOf(configs.vae));
      tryTheSchedule(configs.scheduler, values, image && strength);
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...scheduleOptions(values), ...kind.options(values), guidanceRescale: undefined },
        ...{ ...controlOptions(values), height, width, clipSkip },
        ...(image ? { image, controlImage: control, strength } : { image: control }),
      }),
  };
}

type Config = Readonly<Pick<ControlNetConfig, "conditioning_channels">>;
interface Controlled {
  controlnet: Config | readonly Config[];
}

/** @throws `ERR_CONFIG` for a ControlNet that is not led by an image */
function checkChannels(controlnet: Controlled["controlnet"]): void {
  for (const { conditioning_channels: channels } of [controlnet].flat() as Config[])
    if (channels !== 3)
      throw new InstructPix2PixError(
        "ERR_CONFIG",
        `the ControlNet's "conditioning_channels" is ${channels}, but images have 3: run it by its class, with a tensor`,
      );
}

/** @throws `ERR_INVALID_ARGUMENT` for images that results of one size cannot be made from */
function checkSizes({ height, width }: GenerateValues, pictures: readonly RgbImage[], factor: number): void {
  const size = (own: RgbImage) => sizeForFactor({ height: height ?? own.height, width: width ?? own.width }, factor);
  const [first, ...others] = pictures.map((picture) => sizeText(size(picture)));
  for (const other of others)
    if (other !== first)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `the images make ${first} and ${other} pixels: give images of one size, or height and width`,
      );
}

/** One number for all ControlNets, or a list. */
function controlOptions(values: GenerateValues): ControlNetOptions {
  const one = (list: readonly number[] | undefined) => (list?.length === 1 ? list[0] : list);
  return {
    controlnetConditioningScale: one(values.controlnetConditioningScale),
    controlGuidanceStart: one(values.controlGuidanceStart),
    controlGuidanceEnd: one(values.controlGuidanceEnd),
    ...(values.guessMode && { guessMode: true }),
  };
}

import type { PipelineConfigs } from "../../components/description.js";
import { loadImage, type RgbImage } from "../../images/index.js";
import { sizeForFactor } from "../../images/resize.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import { checkSchedule } from "../../pipelines/call.js";
import { setSchedule } from "../../pipelines/schedule.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { UpscaleComponents } from "../../pipelines/upscale/components.js";
import { checkPictureEdges, edgesOf } from "../../pipelines/upscale/edges.js";
import { StableDiffusionLatentUpscalePipeline } from "../../pipelines/upscale/stable_diffusion_latent_upscale.js";
import {
  checkNoiseLevel,
  pictureTiles,
  StableDiffusionUpscalePipeline,
} from "../../pipelines/upscale/stable_diffusion_upscale.js";
import { checkTiles, type TileOptions } from "../../pipelines/upscale/tiles.js";
import type { CommandIo } from "../command.js";
import type { PictureJob } from "../pictures/job.js";
import { runPictures } from "../pictures/run.js";
import { type UpscaleValues, upscaleOptions } from "./options.js";

const ACTIVITY = { name: "upscale", doing: "upscaling", options: upscaleOptions };

/** The command's option for each class, which a model of the other class is told. */
const SCALES: Readonly<Record<string, string>> = {
  [StableDiffusionLatentUpscalePipeline.description.className]: "2",
  [StableDiffusionUpscalePipeline.description.className]: "4",
};

/** Runs `ip2p upscale`. */
export function runUpscale(values: UpscaleValues, io: CommandIo): Promise<number> {
  return runPictures({ ...values, config: undefined }, io, ACTIVITY, async ({ signal }) => {
    const image = await loadImage(values.image, { signal });
    if (values.scale === "2") return latentUpscaling(values, image);
    // Loaded by its own description, its class gets the components that it has besides.
    return upscaling(values, image) as unknown as PictureJob;
  });
}

function tileOptions({ tile, tileSize, tileOverlap }: UpscaleValues): TileOptions {
  return tile ? { tile: tileSize ?? true, tileOverlap } : {};
}

/** Makes an image twice as large. */
function latentUpscaling(values: UpscaleValues, image: RgbImage): PictureJob<StableDiffusionLatentUpscalePipeline> {
  return {
    pipelineClass: StableDiffusionLatentUpscalePipeline,
    original: image,
    use: useOf,
    checkModel({ unet, vae, scheduler }) {
      const edges = edgesOf({ config: unet }, { scaleFactor: scaleFactorOf(vae) });
      const { height, width } = sizeForFactor(image, edges.multiple);
      checkPictureEdges([1, 3, height, width], edges);
      checkTiles(tileOptions(values), edges);
      setSchedule(scheduler.clone(), checkSchedule({}, values.numInferenceSteps));
    },
    run(pipeline, { promptWeighting, numImagesPerPrompt, eta, ...options }) {
      return pipeline.run({ ...options, ...tileOptions(values), image });
    },
  };
}

/** Makes an image four times as large. */
function upscaling(
  values: UpscaleValues,
  image: RgbImage,
): PictureJob<StableDiffusionUpscalePipeline, PipelineConfigs<UpscaleComponents>> {
  const { clipSkip, noiseLevel } = values;
  return {
    pipelineClass: StableDiffusionUpscalePipeline,
    original: image,
    use: useOf,
    checkModel({ unet, vae, textEncoder, scheduler, lowResScheduler, maxNoiseLevel }) {
      checkTextGuidance(values, textEncoder.num_hidden_layers);
      if (noiseLevel !== undefined) checkNoiseLevel(noiseLevel, { unet, lowResScheduler, maxNoiseLevel });
      sizeForFactor(image, scaleFactorOf(vae));
      checkTiles(tileOptions(values), pictureTiles(unet));
      setSchedule(scheduler.clone(), checkSchedule({}, values.numInferenceSteps));
    },
    run: (pipeline, options) => pipeline.run({ ...options, ...tileOptions(values), image, clipSkip, noiseLevel }),
  };
}

/** How a model of a class is used, if it upscales. */
function useOf(className: string): string | undefined {
  return Object.hasOwn(SCALES, className) ? `--scale ${SCALES[className]}` : undefined;
}

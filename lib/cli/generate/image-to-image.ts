import type { RgbImage } from "../../images/index.js";
import type { AnyImageToImage } from "../../pipelines/auto.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import { type FittedSize, fitPicture } from "../pictures/max-size.js";
import { refinerJob } from "../pictures/refiner.js";
import { type Kind, refinerOptions } from "./kinds.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

/** Makes images from an image. */
export function imageToImage(
  values: GenerateValues,
  kind: Kind,
  image: RgbImage,
  tell: (line: string) => void,
): PictureJob<LatentPipeline & AnyImageToImage> {
  let fitted: FittedSize | undefined;
  const { clipSkip, strength = kind.strength.imageToImage } = values;
  return {
    pipelineClass: kind.imageToImage,
    original: image,
    refiner: refinerJob(values, { more: refinerOptions(values) }),
    checkModel(configs) {
      const { unet, vae, scheduler } = configs;
      checkTextGuidance(values, kind.layers(configs));
      tryTheSchedule(scheduler, values, strength);
      fitted = fitPicture(image, values.maxSize, { unet, vae }, tell);
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...scheduleOptions(values), ...kind.options(values) },
        ...{ image, strength, clipSkip, maxSize: fitted?.maxSize },
      }),
  };
}

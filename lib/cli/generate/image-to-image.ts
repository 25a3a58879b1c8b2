import type { RgbImage } from "../../images/index.js";
import { sizeForFactor } from "../../images/resize.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import type { AnyImageToImage } from "../../pipelines/auto.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import { refinerJob } from "../pictures/refiner.js";
import { type Kind, refinerOptions } from "./kinds.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

/** Makes pictures from a picture. */
export function imageToImage(
  values: GenerateValues,
  kind: Kind,
  image: RgbImage,
): PictureJob<LatentPipeline & AnyImageToImage> {
  const { clipSkip, strength = kind.strength.imageToImage } = values;
  return {
    pipelineClass: kind.imageToImage,
    original: image,
    refiner: refinerJob(values, { more: refinerOptions(values) }),
    checkModel(configs) {
      const { vae, scheduler } = configs;
      checkTextGuidance(values, kind.layers(configs));
      sizeForFactor(image, scaleFactorOf(vae));
      tryTheSchedule(scheduler, values, strength);
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...scheduleOptions(values), ...kind.options(values) },
        ...{ image, strength, clipSkip },
      }),
  };
}

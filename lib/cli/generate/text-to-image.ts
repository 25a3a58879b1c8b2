import { scaleFactorOf } from "../../models/autoencoder-config.js";
import type { AnyTextToImage } from "../../pipelines/auto.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import { checkSize } from "../../pipelines/size.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import { refinerJob } from "../pictures/refiner.js";
import { type Kind, refinerOptions } from "./kinds.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

/** Makes images from text. */
export function textToImage(values: GenerateValues, kind: Kind): PictureJob<LatentPipeline & AnyTextToImage> {
  const { height, width, guidanceRescale, clipSkip } = values;
  return {
    pipelineClass: kind.textToImage,
    original: undefined,
    refiner: refinerJob(values, { more: refinerOptions(values) }),
    checkModel(configs) {
      const { unet, vae, scheduler } = configs;
      checkTextGuidance(values, kind.layers(configs));
      checkSize(values, { unet: { config: unet }, vae: { scaleFactor: scaleFactorOf(vae) }, multiple: 8 });
      tryTheSchedule(scheduler, values);
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...scheduleOptions(values), ...kind.options(values) },
        ...{ height, width, guidanceRescale, clipSkip },
      }),
  };
}

import type { RgbImage } from "../../images/index.js";
import { sizeForFactor } from "../../images/resize.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import { StableDiffusionImg2ImgPipeline } from "../../pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

/** Makes pictures from a picture. */
export function imageToImage(values: GenerateValues, image: RgbImage): PictureJob<StableDiffusionImg2ImgPipeline> {
  const { clipSkip, strength = 0.8 } = values;
  return {
    pipelineClass: StableDiffusionImg2ImgPipeline,
    original: image,
    checkModel({ vae, textEncoder, scheduler }) {
      checkTextGuidance(values, textEncoder.num_hidden_layers);
      sizeForFactor(image, scaleFactorOf(vae));
      tryTheSchedule(scheduler, values, strength);
    },
    run: (pipeline, options) => pipeline.run({ ...options, ...scheduleOptions(values), image, strength, clipSkip }),
  };
}

import type { RgbImage } from "../../images/index.js";
import { StableDiffusionImg2ImgPipeline } from "../../pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import { type FittedSize, fitPicture } from "../pictures/max-size.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

/** Makes pictures from a picture. */
export function imageToImage(
  values: GenerateValues,
  image: RgbImage,
  tell: (line: string) => void,
): PictureJob<StableDiffusionImg2ImgPipeline> {
  let fitted: FittedSize | undefined;
  const { clipSkip, strength = 0.8 } = values;
  return {
    pipelineClass: StableDiffusionImg2ImgPipeline,
    original: image,
    checkModel({ unet, vae, textEncoder, scheduler }) {
      checkTextGuidance(values, textEncoder.num_hidden_layers);
      tryTheSchedule(scheduler, values, strength);
      fitted = fitPicture(image, values.maxSize, { unet, vae }, tell);
    },
    run: (pipeline, options) =>
      pipeline.run({ ...options, ...scheduleOptions(values), image, strength, clipSkip, maxSize: fitted?.maxSize }),
  };
}

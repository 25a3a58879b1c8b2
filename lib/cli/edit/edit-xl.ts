import type { RgbImage } from "../../images/index.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import { checkSchedule } from "../../pipelines/call.js";
import { setSchedule, stepsUntil } from "../../pipelines/schedule.js";
import { checkSize } from "../../pipelines/size.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import type { PictureJob } from "../pictures/job.js";
import { refinerJob } from "../pictures/refiner.js";
import { warnOfStretching } from "../pictures/stretching.js";
import { denoisingEndOf, xlRunOptions } from "../pictures/xl-options.js";
import type { EditValues } from "./options.js";

/** Edits a picture with a model of Stable Diffusion XL. */
export function editXL(
  values: EditValues,
  image: RgbImage,
  warn: (text: string) => void,
): PictureJob<StableDiffusionXLInstructPix2PixPipeline> {
  const { imageGuidanceScale, guidanceRescale, numInferenceSteps, height, width } = values;
  const denoisingEnd = denoisingEndOf(values);
  return {
    pipelineClass: StableDiffusionXLInstructPix2PixPipeline,
    original: image,
    refiner: refinerJob(values, { more: { guidanceRescale } }),
    checkModel({ unet, vae, scheduler }) {
      const scaleFactor = scaleFactorOf(vae);
      const size = checkSize(values, { unet: { config: unet }, vae: { scaleFactor }, multiple: 1 });
      warnOfStretching(image, size, scaleFactor, warn);
      using trial = scheduler.clone();
      setSchedule(trial, checkSchedule({}, numInferenceSteps));
      stepsUntil(trial, trial.timesteps, denoisingEnd);
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...xlRunOptions(values), denoisingEnd },
        ...{ image, imageGuidanceScale, guidanceRescale, height, width },
      }),
  };
}

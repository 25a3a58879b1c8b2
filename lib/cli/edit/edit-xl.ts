import type { RgbImage } from "../../images/index.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import { checkSchedule } from "../../pipelines/call.js";
import { setSchedule, stepsUntil } from "../../pipelines/schedule.js";
import { checkSize } from "../../pipelines/size.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import type { PictureJob } from "../pictures/job.js";
import { fitPicture } from "../pictures/max-size.js";
import { refinerJob } from "../pictures/refiner.js";
import { warnOfStretching } from "../pictures/stretching.js";
import { denoisingEndOf, xlRunOptions } from "../pictures/xl-options.js";
import { keepResolution } from "./keep-resolution.js";
import type { EditValues } from "./options.js";

/** Edits an image with a model of Stable Diffusion XL. */
export function editXL(
  values: EditValues,
  image: RgbImage,
  { warn, tell }: { warn: (text: string) => void; tell: (line: string) => void },
): PictureJob<StableDiffusionXLInstructPix2PixPipeline> {
  const { imageGuidanceScale, guidanceRescale, numInferenceSteps } = values;
  let { height, width } = values;
  const pictureDecides = height === undefined && width === undefined;
  const denoisingEnd = denoisingEndOf(values);
  return {
    pipelineClass: StableDiffusionXLInstructPix2PixPipeline,
    original: image,
    ...keepResolution(values, image),
    refiner: refinerJob(values, { more: { guidanceRescale } }),
    checkModel({ unet, vae, scheduler }) {
      const scaleFactor = scaleFactorOf(vae);
      if (pictureDecides) ({ height, width } = fitPicture(image, values.maxSize, { unet, vae }, tell).size);
      const size = checkSize({ height, width }, { unet: { config: unet }, vae: { scaleFactor }, multiple: 1 });
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

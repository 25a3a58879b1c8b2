import type { RgbImage } from "../../images/index.js";
import { checkSchedule } from "../../pipelines/call.js";
import { setSchedule } from "../../pipelines/schedule.js";
import { InstructPix2PixPipeline } from "../../pipelines/stable_diffusion/instruct_pix2pix.js";
import type { PictureJob } from "../pictures/job.js";
import { type FittedSize, fitPicture } from "../pictures/max-size.js";
import { keepResolution } from "./keep-resolution.js";
import type { EditValues } from "./options.js";

/** Edits an image with a model of Stable Diffusion. */
export function edit(
  values: EditValues,
  image: RgbImage,
  tell: (line: string) => void,
): PictureJob<InstructPix2PixPipeline> {
  let fitted: FittedSize | undefined;
  const { imageGuidanceScale, numInferenceSteps } = values;
  return {
    pipelineClass: InstructPix2PixPipeline,
    original: image,
    ...keepResolution(values, image),
    checkModel({ unet, vae, scheduler }) {
      setSchedule(scheduler.clone(), checkSchedule({}, numInferenceSteps));
      fitted = fitPicture(image, values.maxSize, { unet, vae }, tell);
    },
    run: (pipeline, options) => pipeline.run({ ...options, image, imageGuidanceScale, maxSize: fitted?.maxSize }),
  };
}

import type { RgbImage } from "../../images/index.js";
import { sizeForFactor } from "../../images/resize.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import { checkSchedule } from "../../pipelines/call.js";
import { setSchedule } from "../../pipelines/schedule.js";
import { InstructPix2PixPipeline } from "../../pipelines/stable_diffusion/instruct_pix2pix.js";
import type { PictureJob } from "../pictures/job.js";
import type { EditValues } from "./options.js";

/** Edits a picture with a model of Stable Diffusion. */
export function edit(values: EditValues, image: RgbImage): PictureJob<InstructPix2PixPipeline> {
  const { imageGuidanceScale, numInferenceSteps } = values;
  return {
    pipelineClass: InstructPix2PixPipeline,
    original: image,
    checkModel({ vae, scheduler }) {
      sizeForFactor(image, scaleFactorOf(vae));
      setSchedule(scheduler.clone(), checkSchedule({}, numInferenceSteps));
    },
    run: (pipeline, options) => pipeline.run({ ...options, image, imageGuidanceScale }),
  };
}

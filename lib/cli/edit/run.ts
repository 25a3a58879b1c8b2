import { loadImage } from "../../images/index.js";
import { checkSchedule } from "../../pipelines/call.js";
import { setSchedule } from "../../pipelines/schedule.js";
import { InstructPix2PixPipeline } from "../../pipelines/stable_diffusion/instruct_pix2pix.js";
import type { CommandIo } from "../command.js";
import type { PictureJob } from "../pictures/job.js";
import { type FittedSize, fitPicture } from "../pictures/max-size.js";
import { runPictures } from "../pictures/run.js";
import { type EditValues, editOptions } from "./options.js";

const ACTIVITY = { name: "edit", doing: "editing", options: editOptions };

/** Runs `ip2p edit`. */
export function runEdit(values: EditValues, io: CommandIo): Promise<number> {
  const { imageGuidanceScale, numInferenceSteps } = values;
  return runPictures(values, io, ACTIVITY, async ({ signal, tell }) => {
    let fitted: FittedSize | undefined;
    const image = await loadImage(values.image, { signal });
    const job: PictureJob<InstructPix2PixPipeline> = {
      pipelineClass: InstructPix2PixPipeline,
      original: image,
      checkModel(configs) {
        setSchedule(configs.scheduler.clone(), checkSchedule({}, numInferenceSteps));
        fitted = fitPicture(image, values.maxSize, configs, tell);
      },
      run: (pipeline, options) => pipeline.run({ ...options, image, imageGuidanceScale, maxSize: fitted?.maxSize }),
    };
    return job;
  });
}

import { scaleFactorOf } from "../../models/autoencoder-config.js";
import { checkSize } from "../../pipelines/size.js";
import { StableDiffusionPipeline } from "../../pipelines/stable_diffusion/stable_diffusion.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

/** Makes pictures from text. */
export function textToImage(values: GenerateValues): PictureJob<StableDiffusionPipeline> {
  const { height, width, guidanceRescale, clipSkip } = values;
  return {
    pipelineClass: StableDiffusionPipeline,
    original: undefined,
    checkModel({ unet, vae, textEncoder, scheduler }) {
      checkTextGuidance(values, textEncoder.num_hidden_layers);
      checkSize(values, { unet: { config: unet }, vae: { scaleFactor: scaleFactorOf(vae) }, multiple: 8 });
      tryTheSchedule(scheduler, values);
    },
    run: (pipeline, options) =>
      pipeline.run({ ...options, ...scheduleOptions(values), height, width, guidanceRescale, clipSkip }),
  };
}

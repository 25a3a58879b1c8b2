import type { RgbImage } from "../../images/index.js";
import { BUILT_IN_GUIDANCE } from "../../models/built-in.js";
import { checkSchedule } from "../../pipelines/call.js";
import { setSchedule } from "../../pipelines/schedule.js";
import { InstructPix2PixPipeline } from "../../pipelines/stable_diffusion/instruct_pix2pix.js";
import type { PictureJob } from "../pictures/job.js";
import { type FittedSize, fitPicture } from "../pictures/max-size.js";
import { builtInFor, tellBuiltIn } from "./built-in.js";
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
  const builtIn = values.model === undefined ? builtInFor(image) : undefined;
  if (builtIn !== undefined) tellBuiltIn(builtIn, tell);
  // Others have the pipeline's own scale.
  const guidanceScale = values.guidanceScale ?? (builtIn === undefined ? undefined : BUILT_IN_GUIDANCE.guidanceScale);
  return {
    pipelineClass: InstructPix2PixPipeline,
    ...(builtIn !== undefined && { builtIn }),
    original: image,
    ...keepResolution(values, image),
    checkModel({ unet, vae, scheduler }) {
      setSchedule(scheduler.clone(), checkSchedule({}, numInferenceSteps));
      fitted = fitPicture(image, values.maxSize, { unet, vae }, tell);
    },
    run: (pipeline, options) =>
      pipeline.run({ ...options, guidanceScale, image, imageGuidanceScale, maxSize: fitted?.maxSize }),
  };
}

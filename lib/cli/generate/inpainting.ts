import type { RgbImage } from "../../images/index.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import type { AnyInpainting } from "../../pipelines/auto.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import { checkMaskSize, cropRegion } from "../../pipelines/mask-crop.js";
import { checkSize } from "../../pipelines/size.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import { fitPicture } from "../pictures/max-size.js";
import { refinerJob } from "../pictures/refiner.js";
import { warnOfMaskShape, warnOfStretching } from "../pictures/stretching.js";
import { type Kind, refinerOptions } from "./kinds.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

interface Given {
  image: RgbImage;
  mask: RgbImage;
  warn: (text: string) => void;
  tell: (line: string) => void;
}

/** Paints the masked part of an image anew. */
export function inpainting(
  values: GenerateValues,
  kind: Kind,
  { image, mask, warn, tell }: Given,
): PictureJob<LatentPipeline & AnyInpainting> {
  const { paddingMaskCrop, clipSkip, strength = kind.strength.inpainting } = values;
  // The size is known when the model is.
  const painting = { maskImage: mask, height: values.height, width: values.width };
  const cutsOut = paddingMaskCrop !== undefined;
  const pictureDecides = !cutsOut && painting.height === undefined && painting.width === undefined;
  if (cutsOut) checkMaskSize(image, mask);
  else warnOfMaskShape({ image, mask, warn });
  return {
    pipelineClass: kind.inpainting,
    original: image,
    refiner: refinerJob(values, { painting, more: refinerOptions(values) }),
    checkModel(configs) {
      const { unet, vae, scheduler } = configs;
      checkTextGuidance(values, kind.layers(configs));
      const models = { unet: { config: unet }, vae: { scaleFactor: scaleFactorOf(vae) } };
      if (pictureDecides) Object.assign(painting, fitPicture(image, values.maxSize, { unet, vae }, tell).size);
      const size = checkSize(painting, { ...models, multiple: scaleFactorOf(vae) });
      if (cutsOut) cropRegion({ ...mask, form: "colour" }, size, paddingMaskCrop);
      else warnOfStretching(image, size, scaleFactorOf(vae), warn);
      tryTheSchedule(scheduler, values, strength);
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...scheduleOptions(values), ...kind.options(values), clipSkip },
        ...{ ...painting, image, strength, paddingMaskCrop },
      }),
  };
}

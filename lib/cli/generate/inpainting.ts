import type { RgbImage } from "../../images/index.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import type { AnyInpainting } from "../../pipelines/auto.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import { checkMaskSize, cropRegion } from "../../pipelines/mask-crop.js";
import { checkSize } from "../../pipelines/size.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import { refinerJob } from "../pictures/refiner.js";
import { haveOneShape, sizeText, warnOfStretching } from "../pictures/stretching.js";
import { type Kind, refinerOptions } from "./kinds.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

/** Heights and widths are multiples of this, so that a shape can be met up to half of it only. */
const MULTIPLE = 8;

interface Given {
  image: RgbImage;
  mask: RgbImage;
  warn: (text: string) => void;
}

/** Paints the masked part of a picture anew. */
export function inpainting(
  values: GenerateValues,
  kind: Kind,
  { image, mask, warn }: Given,
): PictureJob<LatentPipeline & AnyInpainting> {
  const { height, width, paddingMaskCrop, clipSkip, strength = kind.strength.inpainting } = values;
  const cutsOut = paddingMaskCrop !== undefined;
  if (cutsOut) checkMaskSize(image, mask);
  else warnOfShape({ image, mask, warn });
  return {
    pipelineClass: kind.inpainting,
    original: image,
    refiner: refinerJob(values, { painting: { maskImage: mask, height, width }, more: refinerOptions(values) }),
    checkModel(configs) {
      const { unet, vae, scheduler } = configs;
      checkTextGuidance(values, kind.layers(configs));
      const models = { unet: { config: unet }, vae: { scaleFactor: scaleFactorOf(vae) } };
      const size = checkSize(values, { ...models, multiple: MULTIPLE });
      if (cutsOut) cropRegion({ ...mask, form: "colour" }, size, paddingMaskCrop);
      else warnOfStretching(image, size, MULTIPLE, warn);
      tryTheSchedule(scheduler, values, strength);
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...scheduleOptions(values), ...kind.options(values), clipSkip },
        ...{ image, maskImage: mask, strength, height, width, paddingMaskCrop },
      }),
  };
}

/** A mask is stretched to the picture, as in diffusers; one of another shape is hardly meant for it. */
function warnOfShape({ image, mask, warn }: Given): void {
  if (haveOneShape(image, mask, 1)) return;
  const sizes = `the mask has ${sizeText(mask)} pixels and the picture ${sizeText(image)}`;
  warn(`${sizes}: the mask is stretched to the picture's shape`);
}

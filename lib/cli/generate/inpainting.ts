import type { RgbImage } from "../../images/index.js";
import type { RgbPixels } from "../../images/pixels.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import { checkMaskSize, cropRegion } from "../../pipelines/mask-crop.js";
import { checkSize } from "../../pipelines/size.js";
import { StableDiffusionInpaintPipeline } from "../../pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
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
  { image, mask, warn }: Given,
): PictureJob<StableDiffusionInpaintPipeline> {
  const { height, width, paddingMaskCrop, clipSkip, strength = 1 } = values;
  const cutsOut = paddingMaskCrop !== undefined;
  if (cutsOut) checkMaskSize(image, mask);
  else warnOfShape({ image, mask, warn });
  return {
    pipelineClass: StableDiffusionInpaintPipeline,
    original: image,
    checkModel({ unet, vae, textEncoder, scheduler }) {
      checkTextGuidance(values, textEncoder.num_hidden_layers);
      const models = { unet: { config: unet }, vae: { scaleFactor: scaleFactorOf(vae) } };
      const size = checkSize(values, { ...models, multiple: MULTIPLE });
      if (cutsOut) cropRegion({ ...mask, form: "colour" }, size, paddingMaskCrop);
      else if (!haveOneShape(image, size, MULTIPLE))
        warn(
          `the picture of ${sizeText(image)} pixels is stretched to ${sizeText(size)}; --height and --width say another size`,
        );
      tryTheSchedule(scheduler, values, strength);
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...scheduleOptions(values), clipSkip },
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

type Size = Pick<RgbPixels, "width" | "height">;

/** @param rounding pixels that a side may be off */
function haveOneShape(a: Size, b: Size, rounding: number): boolean {
  const longest = Math.max(a.width, a.height, b.width, b.height);
  return Math.abs(a.width * b.height - a.height * b.width) <= rounding * longest;
}

function sizeText({ width, height }: Size): string {
  return `${width}×${height}`;
}

import type { RgbImage } from "../../images/index.js";
import type { RgbPixels } from "../../images/pixels.js";
import { scaleFactorOf } from "../../models/autoencoder_kl.js";
import { checkMaskSize, cropRegion } from "../../pipelines/mask-crop.js";
import { checkSize } from "../../pipelines/size.js";
import { StableDiffusionInpaintPipeline } from "../../pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { checkTextGuidance } from "../../pipelines/stable_diffusion/text-options.js";
import type { PictureJob } from "../pictures/job.js";
import { fitPicture, sizeText } from "../pictures/max-size.js";
import type { GenerateValues } from "./options.js";
import { scheduleOptions, tryTheSchedule } from "./schedule.js";

interface Given {
  image: RgbImage;
  mask: RgbImage;
  warn: (text: string) => void;
  tell: (line: string) => void;
}

/** Paints the masked part of a picture anew. */
export function inpainting(
  values: GenerateValues,
  { image, mask, warn, tell }: Given,
): PictureJob<StableDiffusionInpaintPipeline> {
  const { paddingMaskCrop, clipSkip, strength = 1 } = values;
  let { height, width } = values;
  const cutsOut = paddingMaskCrop !== undefined;
  const pictureDecides = !cutsOut && height === undefined && width === undefined;
  if (cutsOut) checkMaskSize(image, mask);
  else warnOfShape({ image, mask, warn });
  return {
    pipelineClass: StableDiffusionInpaintPipeline,
    original: image,
    checkModel({ unet, vae, textEncoder, scheduler }) {
      checkTextGuidance(values, textEncoder.num_hidden_layers);
      tryTheSchedule(scheduler, values, strength);
      const models = { unet: { config: unet }, vae: { scaleFactor: scaleFactorOf(vae) } };
      if (pictureDecides) ({ height, width } = fitPicture(image, values.maxSize, { unet, vae }, tell).size);
      const size = checkSize({ height, width }, { ...models, multiple: scaleFactorOf(vae) });
      if (cutsOut) cropRegion({ ...mask, form: "colour" }, size, paddingMaskCrop);
      else if (!haveOneShape(image, size, scaleFactorOf(vae)))
        warn(
          `the picture of ${sizeText(image)} pixels is stretched to ${sizeText(size)}; --height and --width say another size`,
        );
    },
    run: (pipeline, options) =>
      pipeline.run({
        ...{ ...options, ...scheduleOptions(values), clipSkip },
        ...{ image, maskImage: mask, strength, height, width, paddingMaskCrop },
      }),
  };
}

/** A mask is stretched to the picture, as in diffusers; one of another shape is hardly meant for it. */
function warnOfShape({ image, mask, warn }: Omit<Given, "tell">): void {
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

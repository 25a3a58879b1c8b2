import { InstructPix2PixError } from "../../core/errors.js";
import type { RgbImage } from "../../images/index.js";
import { checkSchedule } from "../../pipelines/call.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import { setScheduleFrom } from "../../pipelines/schedule.js";
import { StableDiffusionXLImg2ImgPipeline } from "../../pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInpaintPipeline } from "../../pipelines/stable_diffusion_xl/stable_diffusion_xl_inpaint.js";
import type { RefinerJob } from "./job.js";
import type { PictureValues } from "./options.js";
import { denoisingEndOf, xlRunOptions } from "./xl-options.js";

export interface RefinerOptions {
  /** The mask of images of which a part is painted anew, and their size. */
  painting?: { maskImage: RgbImage; height: number | undefined; width: number | undefined } | undefined;
  /** Further options of the run. */
  more?: object;
}

/** What `--refiner` does with the latents of another model: image to image, or the same in the masked part. */
export function refinerJob(values: PictureValues, { painting, more }: RefinerOptions = {}): RefinerJob | undefined {
  const denoisingStart = denoisingEndOf(values);
  if (denoisingStart === undefined) return undefined;
  return {
    pipelineClass: painting ? StableDiffusionXLInpaintPipeline : StableDiffusionXLImg2ImgPipeline,
    checkModel({ scheduler }) {
      using trial = scheduler.clone();
      setScheduleFrom(trial, checkSchedule({}, values.numInferenceSteps), denoisingStart);
    },
    async refine(pipeline: LatentPipeline, image, { seed: _seed, ...options }) {
      const shared = { ...options, ...xlRunOptions(values), ...more, image, denoisingStart };
      if (pipeline instanceof StableDiffusionXLImg2ImgPipeline) return await pipeline.run(shared);
      if (pipeline instanceof StableDiffusionXLInpaintPipeline && painting) {
        const [, , h, w] = image.shape as [number, number, number, number];
        const { scaleFactor } = pipeline.vae;
        return await pipeline.run({
          ...{ ...shared, maskImage: painting.maskImage },
          ...{ height: painting.height ?? h * scaleFactor, width: painting.width ?? w * scaleFactor },
        });
      }
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `a ${pipeline.className} does not refine`);
    },
  };
}

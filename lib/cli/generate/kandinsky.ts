import type { PipelineConfigs } from "../../components/description.js";
import type { RgbImage } from "../../images/index.js";
import { scaleFactorOf } from "../../models/autoencoder-config.js";
import type { CheckedPrior } from "../../pipelines/kandinsky2_2/combined-base.js";
import { checkPriorWidth, joinPrior } from "../../pipelines/kandinsky2_2/combined-base.js";
import type { KandinskyV22Components } from "../../pipelines/kandinsky2_2/components.js";
import { findPrior } from "../../pipelines/kandinsky2_2/connected-prior.js";
import { KandinskyV22Pipeline } from "../../pipelines/kandinsky2_2/kandinsky2_2.js";
import {
  KandinskyV22CombinedPipeline,
  KandinskyV22Img2ImgCombinedPipeline,
  KandinskyV22InpaintCombinedPipeline,
} from "../../pipelines/kandinsky2_2/kandinsky2_2_combined.js";
import { KandinskyV22Img2ImgPipeline } from "../../pipelines/kandinsky2_2/kandinsky2_2_img2img.js";
import { KandinskyV22InpaintPipeline } from "../../pipelines/kandinsky2_2/kandinsky2_2_inpaint.js";
import { KandinskyV22PriorPipeline } from "../../pipelines/kandinsky2_2/kandinsky2_2_prior.js";
import type { ImagesResult } from "../../pipelines/run-options.js";
import { checkSize } from "../../pipelines/size.js";
import type { CommandIo } from "../command.js";
import { usage } from "../pictures/check.js";
import type { KandinskyFamily } from "../pictures/family.js";
import type { ImagePipeline, PictureJob, PriorJob } from "../pictures/job.js";
import { fitPicture } from "../pictures/max-size.js";
import { warnOfMaskShape, warnOfStretching } from "../pictures/stretching.js";
import { checkKandinskyValues } from "./kandinsky-check.js";
import type { GenerateValues } from "./options.js";
import { tryTheSchedule } from "./schedule.js";

interface Given {
  image: RgbImage | undefined;
  mask: RgbImage | undefined;
  warn: (text: string) => void;
  tell: (line: string) => void;
}

/** The classes of a task: of the decoder alone, and with its prior. */
const CLASSES = {
  text: [KandinskyV22Pipeline, KandinskyV22CombinedPipeline],
  image: [KandinskyV22Img2ImgPipeline, KandinskyV22Img2ImgCombinedPipeline],
  mask: [KandinskyV22InpaintPipeline, KandinskyV22InpaintCombinedPipeline],
} as const;

/** Guidance of the decoder where none is given. */
const GUIDANCE = 4;
/** Steps of the prior where none are given. */
const PRIOR_STEPS = 25;
const STRENGTH = 0.3;

type Combined = ImagePipeline & {
  // biome-ignore lint/suspicious/noExplicitAny: each task has options of its own
  run(options: any): Promise<ImagesResult>;
};
type Configs = PipelineConfigs<KandinskyV22Components>;

/** Makes images by Kandinsky 2.2: from text, from an image, or in the masked part of one. */
export async function kandinsky(
  values: GenerateValues,
  family: KandinskyFamily,
  { image, mask, warn, tell }: Given,
  surroundings: Pick<CommandIo, "env" | "signal">,
): Promise<PictureJob<Combined, Configs>> {
  checkKandinskyValues(values);
  if (family === "kandinsky-prior")
    throw usage("--model is a prior: give the decoder as --model, and the prior as --prior");
  const [decoder, combined] = CLASSES[mask ? "mask" : image ? "image" : "text"];
  const hasPrior = family === "kandinsky-combined";
  if (hasPrior && values.prior !== undefined) throw usage("--prior is for a decoder alone, but the model has its own");
  const { strength = STRENGTH, priorNumInferenceSteps = PRIOR_STEPS, priorGuidanceScale } = values;
  let size: { height: number; width: number } | undefined;
  let unet: Configs["unet"] | undefined;
  if (image && mask) warnOfMaskShape({ image, mask, warn });
  const pictureDecides = image && values.height === undefined && values.width === undefined;
  const tryThePrior = ({ scheduler }: Pick<CheckedPrior, "scheduler">) =>
    tryTheSchedule(scheduler, { ...values, numInferenceSteps: priorNumInferenceSteps });
  return {
    pipelineClass: (hasPrior ? combined : decoder) as unknown as PictureJob<Combined>["pipelineClass"],
    original: image,
    checkModel(configs) {
      const { movq, scheduler } = configs;
      ({ unet } = configs);
      const factor = scaleFactorOf(movq);
      const multiple = factor ** 2;
      const models = { unet: { config: unet }, vae: { scaleFactor: factor } };
      size = pictureDecides
        ? fitPicture(image, values.maxSize, { unet, vae: movq, multiple }, tell).size
        : checkSize(values, { ...models, multiple });
      if (image && !pictureDecides) warnOfStretching(image, size, multiple, warn);
      tryTheSchedule(scheduler, values, image && !mask ? strength : undefined);
      if ("priorScheduler" in configs) tryThePrior({ scheduler: configs.priorScheduler as Configs["scheduler"] });
    },
    ...(!hasPrior && {
      prior: {
        model: values.prior ?? (await findPrior(values.model!, { ...surroundings, ...hubOptions(values) })),
        pipelineClass: KandinskyV22PriorPipeline,
        checkModel(configs: CheckedPrior) {
          checkPriorWidth(configs.prior, unet!);
          tryThePrior(configs);
        },
        join: (pipeline: ImagePipeline, prior: KandinskyV22PriorPipeline) =>
          joinPrior<Combined>(combined, pipeline, prior),
      } satisfies PriorJob as unknown as PriorJob,
    }),
    run(pipeline, { prompt, negativePrompt, onProgress, onStep, seed, signal, ...options }) {
      const { numInferenceSteps, guidanceScale = GUIDANCE, numImagesPerPrompt, eta, allowNonFinite } = options;
      const { height, width } = size!;
      return pipeline.run({
        ...{ prompt, negativePrompt, numInferenceSteps, guidanceScale, numImagesPerPrompt, eta, allowNonFinite },
        ...{ onProgress, onStep, seed, signal, priorNumInferenceSteps, priorGuidanceScale },
        // The prior encodes the prompt, in steps.
        priorOnStep: ({ step, totalSteps }: { step: number; totalSteps: number }) =>
          onProgress?.({ stage: "encode", fraction: (step + 1) / totalSteps }),
        // The class exchanges height and width of the image.
        ...(image && !mask ? { image, strength, height: width, width: height } : { height, width }),
        ...(mask && { image, maskImage: mask }),
      });
    },
  };
}

function hubOptions({ revision, cacheDir, localFilesOnly }: GenerateValues) {
  return { revision, cacheDir, localFilesOnly };
}

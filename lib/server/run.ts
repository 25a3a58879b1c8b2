import { InstructPix2PixError } from "../core/errors.js";
import { RgbImage } from "../images/index.js";
import { LatentPipeline } from "../pipelines/latent_pipeline.js";
import type { ImagesResult, StepProgress } from "../pipelines/run-options.js";
import { trainedSize } from "../pipelines/size.js";
import type { EditFields } from "./fields.js";
import type { HeldModel } from "./model-store.js";
import type { ImagePipeline, ServedModel, Use } from "./models.js";
import type { RequestPictures } from "./pictures.js";

/** A request that is ready to be computed. */
export interface PictureRequest {
  fields: EditFields;
  /** Undefined for images from text alone. */
  pictures: RequestPictures | undefined;
  /** Undefined for what the model was trained for. */
  size: { width: number; height: number } | undefined;
}

/** What is told while a request is computed. */
export interface RunWatcher {
  signal: AbortSignal;
  /** A step is done. @param done of so many in all */
  onStep(done: number, total: number): void;
  /** A preview of the first image, `partial_images` times. */
  onPreview?: ((picture: RgbImage, index: number) => Promise<void>) | undefined;
}

/** What a request wants of its model. */
export function useOf(pictures: RequestPictures | undefined): Use {
  if (!pictures) return "generate";
  return pictures.mask ? "inpaint" : "edit";
}

/**
 * Computes a request.
 *
 * @throws an `HttpError` if the model is not for it; otherwise as the pipeline's `run`
 */
export async function runRequest(
  model: Pick<HeldModel, "about" | "pipelineFor" | "loras">,
  { fields, pictures, size }: PictureRequest,
  { signal, onStep, onPreview }: RunWatcher,
): Promise<ImagesResult> {
  const use = useOf(pictures);
  using held = model.pipelineFor(use, fields.scheduler);
  const { pipeline } = held;
  const { prompt, n, negative_prompt, num_inference_steps, guidance_scale, image_guidance_scale, strength } = fields;
  const previews = previewSteps(pipeline, fields, onPreview !== undefined);
  const options = {
    ...{ prompt, signal, numInferenceSteps: num_inference_steps, numImagesPerPrompt: n },
    ...given({ negativePrompt: negative_prompt, seed: fields.seed }),
    ...given({ guidanceScale: guidance_scale ?? model.about.guidance_scale ?? undefined }),
    ...(model.loras.length > 0 && { loras: model.loras }),
    ...given({ imageGuidanceScale: image_guidance_scale, strength }),
    ...(await placeOf(pipeline, { pictures, size, fields })),
    onStep: async ({ step, totalSteps, latents, tile = 0, tiles = 1 }: StepProgress) => {
      onStep(tile * totalSteps + step + 1, tiles * totalSteps);
      const index = previews.indexAt(step, totalSteps);
      if (index !== undefined && pipeline instanceof LatentPipeline)
        await onPreview!(await pipeline.preview(latents, signal), index);
    },
  };
  return await pipeline.run(options);
}

/**
 * Has a model compute a step of the first thing that it is for, so that what it does only once is done.
 *
 * @throws as the pipeline's `run`
 */
export async function warmUp({ about, pipelineFor }: Pick<ServedModel, "about" | "pipelineFor">): Promise<void> {
  const [use] = about.uses;
  if (use === undefined) return;
  const [width, height] = (about.size ?? "64x64").split("x").map(Number) as [number, number];
  const grey = (value: number) => new RgbImage(width, height, new Uint8Array(3 * width * height).fill(value));
  using held = pipelineFor(use, undefined);
  const strength = about.instructed ? {} : { strength: 1 };
  const images = { edit: { image: grey(128), ...strength }, generate: { width, height }, inpaint: {} };
  const masked = use === "inpaint" && { image: grey(128), maskImage: grey(255), width, height };
  await held.pipeline.run({ ...images[use], ...masked, prompt: "", numInferenceSteps: 1, seed: 0 });
}

/** The options of a run that say its images and their size. */
async function placeOf(pipeline: ImagePipeline, { pictures, size, fields }: PictureRequest): Promise<object> {
  if (!pictures) return { ...size };
  const { image, mask } = pictures;
  const crop = mask ? given({ paddingMaskCrop: fields.padding_mask_crop }) : {};
  if (!size) {
    const own = pipeline instanceof LatentPipeline ? trainedSize(pipeline) : undefined;
    const maxSize = own && Math.max(own.width, own.height);
    // A crop is made larger, not smaller.
    return { image, ...crop, ...given({ maskImage: mask, maxSize: "paddingMaskCrop" in crop ? undefined : maxSize }) };
  }
  if (mask) return { image, maskImage: mask, ...crop, ...size };
  // Others take the image's size for the result's.
  const takesSize = /^Kandinsky|XLInstructPix2Pix/.test(pipeline.className);
  return { image: await image.resize(size.width, size.height), ...(takesSize && size) };
}

/** At which steps a stream shows previews: spread evenly, never at the last one. */
function previewSteps(pipeline: ImagePipeline, { partial_images: count }: EditFields, wanted: boolean) {
  if (!wanted || count === 0) return { indexAt: () => undefined };
  if (!(pipeline instanceof LatentPipeline))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `a ${pipeline.className} has no previews: partial_images is 0`,
    );
  // They would show what a safety checker blackens.
  if (pipeline.components.safetyChecker) return { indexAt: () => undefined };
  return {
    indexAt(step: number, totalSteps: number): number | undefined {
      const places = Array.from({ length: count }, (_, i) => Math.floor(((i + 1) * totalSteps) / (count + 1)) - 1);
      const index = places.indexOf(step);
      return index < 0 ? undefined : index;
    },
  };
}

/** Without what is undefined: pipelines know the names of their options. */
function given<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}

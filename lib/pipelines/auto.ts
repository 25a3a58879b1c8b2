import { checkNames, type LoadOptions } from "../components/load.js";
import { readPipelineClass } from "../components/pipeline-class.js";
import type { StableDiffusionComponents } from "./components.js";
import { type DiffusionPipeline, loadPipeline, sharePipeline } from "./diffusion_pipeline.js";
import { classNameFor, type Task } from "./families.js";
import { anyComponentNames, pipelineFromClassName } from "./registry.js";
import type { StableDiffusionPipeline } from "./stable_diffusion/stable_diffusion.js";
import type { StableDiffusionImg2ImgPipeline } from "./stable_diffusion/stable_diffusion_img2img.js";
import type { StableDiffusionInpaintPipeline } from "./stable_diffusion/stable_diffusion_inpaint.js";
import type { StableDiffusionXLRefinerComponents } from "./stable_diffusion_xl/components.js";

/** The components of the families that AutoPipelines know. */
export type AutoComponents = StableDiffusionComponents & StableDiffusionXLRefinerComponents;

/** What the text-to-image pipelines of all families have: `StableDiffusionPipeline` or `StableDiffusionXLPipeline`. */
export type AnyTextToImage = DiffusionPipeline & Pick<StableDiffusionPipeline, Common>;

/** The same of `StableDiffusionImg2ImgPipeline` and `StableDiffusionXLImg2ImgPipeline`. */
export type AnyImageToImage = DiffusionPipeline & Pick<StableDiffusionImg2ImgPipeline, Common>;

/** The same of `StableDiffusionInpaintPipeline` and `StableDiffusionXLInpaintPipeline`. */
export type AnyInpainting = DiffusionPipeline & Pick<StableDiffusionInpaintPipeline, Common>;

type Common = "run" | "vae" | "unet" | "scheduler";

async function load(task: Task, pathOrId: string, options: LoadOptions<AutoComponents> = {}) {
  checkNames(anyComponentNames(), options);
  const className = classNameFor(task, await readPipelineClass(pathOrId, options));
  return await loadPipeline(pipelineFromClassName(className), pathOrId, options);
}

function share(task: Task, pipe: DiffusionPipeline, components: Partial<AutoComponents>) {
  return sharePipeline(pipelineFromClassName(classNameFor(task, pipe.className)), pipe, components);
}

/**
 * Picks the text-to-image pipeline of a model, whatever pipeline its folder names, as diffusers' class of this name does.
 */
export class AutoPipelineForText2Image {
  private constructor() {}

  /**
   * Loads a model by the text-to-image class of its family.
   *
   * @throws `ERR_CONFIG` for a model without one; otherwise as `InstructPix2PixPipeline.fromPretrained`
   */
  static async fromPretrained(pathOrId: string, options?: LoadOptions<AutoComponents>): Promise<AnyTextToImage> {
    return (await load("text2image", pathOrId, options)) as AnyTextToImage;
  }

  /**
   * The text-to-image pipeline with another pipeline's components, which both then share: nothing is loaded or copied, and a
   * component is freed with the last pipeline that holds it.
   *
   * @param components used instead of the pipeline's
   * @throws `ERR_CONFIG` if there is none, or if the components do not fit it
   */
  static fromPipe(pipe: DiffusionPipeline, components: Partial<AutoComponents> = {}): AnyTextToImage {
    return share("text2image", pipe, components) as AnyTextToImage;
  }

  /**
   * The class of diffusers that is picked for a model of another class.
   *
   * @throws `ERR_CONFIG` if there is none
   */
  static classNameFor(className: string, options?: { controlnet?: boolean }): string {
    return classNameFor("text2image", className, options);
  }
}

/**
 * Picks the image-to-image pipeline of a model, whatever pipeline its folder names, as diffusers' class of this name does.
 */
export class AutoPipelineForImage2Image {
  private constructor() {}

  /** As {@link AutoPipelineForText2Image.fromPretrained}, for image to image. */
  static async fromPretrained(pathOrId: string, options?: LoadOptions<AutoComponents>): Promise<AnyImageToImage> {
    return (await load("image2image", pathOrId, options)) as AnyImageToImage;
  }

  /** As {@link AutoPipelineForText2Image.fromPipe}, for image to image. */
  static fromPipe(pipe: DiffusionPipeline, components: Partial<AutoComponents> = {}): AnyImageToImage {
    return share("image2image", pipe, components) as AnyImageToImage;
  }

  /** As {@link AutoPipelineForText2Image.classNameFor}, for image to image. */
  static classNameFor(className: string, options?: { controlnet?: boolean }): string {
    return classNameFor("image2image", className, options);
  }
}

/**
 * Picks the inpainting pipeline of a model, whatever pipeline its folder names, as diffusers' class of this name does.
 */
export class AutoPipelineForInpainting {
  private constructor() {}

  /** As {@link AutoPipelineForText2Image.fromPretrained}, for inpainting. */
  static async fromPretrained(pathOrId: string, options?: LoadOptions<AutoComponents>): Promise<AnyInpainting> {
    return (await load("inpainting", pathOrId, options)) as AnyInpainting;
  }

  /** As {@link AutoPipelineForText2Image.fromPipe}, for inpainting. */
  static fromPipe(pipe: DiffusionPipeline, components: Partial<AutoComponents> = {}): AnyInpainting {
    return share("inpainting", pipe, components) as AnyInpainting;
  }

  /** As {@link AutoPipelineForText2Image.classNameFor}, for inpainting. */
  static classNameFor(className: string, options?: { controlnet?: boolean }): string {
    return classNameFor("inpainting", className, options);
  }
}

import { checkNames, type LoadOptions } from "../components/load.js";
import { readPipelineClass } from "../components/pipeline-class.js";
import type { StableDiffusionComponents } from "./components.js";
import type { ControlNetComponents, ControlNets } from "./controlnet/components.js";
import type { StableDiffusionControlNetPipeline } from "./controlnet/controlnet.js";
import type { StableDiffusionControlNetImg2ImgPipeline } from "./controlnet/controlnet_img2img.js";
import type { StableDiffusionControlNetInpaintPipeline } from "./controlnet/controlnet_inpaint.js";
import { type DiffusionPipeline, loadPipeline, sharePipeline } from "./diffusion_pipeline.js";
import { classNameFor, type Task } from "./families.js";
import { anyComponentNames, pipelineFromClassName } from "./registry.js";
import type { StableDiffusionPipeline } from "./stable_diffusion/stable_diffusion.js";
import type { StableDiffusionImg2ImgPipeline } from "./stable_diffusion/stable_diffusion_img2img.js";
import type { StableDiffusionInpaintPipeline } from "./stable_diffusion/stable_diffusion_inpaint.js";
import type { StableDiffusionXLRefinerComponents } from "./stable_diffusion_xl/components.js";

/** The components of the families that AutoPipelines know. */
export type AutoComponents = StableDiffusionComponents & StableDiffusionXLRefinerComponents & ControlNetComponents;

/** Components to share; `controlnet: null` leaves those of the other pipeline out. */
export type AutoShared = Partial<Omit<AutoComponents, "controlnet">> & { controlnet?: ControlNets | null };

/** What the text-to-image pipelines of all families have: `StableDiffusionPipeline` or `StableDiffusionXLPipeline`. */
export type AnyTextToImage = DiffusionPipeline & Pick<StableDiffusionPipeline, Common>;

/** The same of `StableDiffusionImg2ImgPipeline` and `StableDiffusionXLImg2ImgPipeline`. */
export type AnyImageToImage = DiffusionPipeline & Pick<StableDiffusionImg2ImgPipeline, Common>;

/** The same of `StableDiffusionInpaintPipeline` and `StableDiffusionXLInpaintPipeline`. */
export type AnyInpainting = DiffusionPipeline & Pick<StableDiffusionInpaintPipeline, Common>;

/** The same of `StableDiffusionControlNetPipeline` and `StableDiffusionXLControlNetPipeline`. */
export type AnyControlNetTextToImage = DiffusionPipeline &
  Pick<StableDiffusionControlNetPipeline, Common | "controlnet">;

/** The same of `StableDiffusionControlNetImg2ImgPipeline` and `StableDiffusionXLControlNetImg2ImgPipeline`. */
export type AnyControlNetImageToImage = DiffusionPipeline &
  Pick<StableDiffusionControlNetImg2ImgPipeline, Common | "controlnet">;

/** The same of `StableDiffusionControlNetInpaintPipeline`. */
export type AnyControlNetInpainting = DiffusionPipeline &
  Pick<StableDiffusionControlNetInpaintPipeline, Common | "controlnet">;

type Common = "run" | "vae" | "unet" | "scheduler";

type Loading = LoadOptions<AutoComponents>;
type LoadingWithControl = Loading & { controlnet: NonNullable<Loading["controlnet"]> };
type SharedWithControl = AutoShared & { controlnet: ControlNets };

async function load(task: Task, pathOrId: string, options: LoadOptions<AutoComponents> = {}) {
  checkNames(anyComponentNames(), options);
  const className = chosenClass(task, await readPipelineClass(pathOrId, options), options.controlnet);
  return await loadPipeline(pipelineFromClassName(className), pathOrId, options);
}

function share(task: Task, pipe: DiffusionPipeline, { controlnet, ...components }: AutoShared) {
  const className = chosenClass(task, pipe.className, controlnet);
  return sharePipeline(pipelineFromClassName(className), pipe, {
    ...components,
    ...(controlnet && { controlnet }),
  });
}

/** The class for a task: with ControlNets if some are given, without if null is, else as the other class has it. */
function chosenClass(task: Task, className: string, controlnet: unknown): string {
  if (controlnet === undefined) return classNameFor(task, className);
  const plain = classNameFor(task, className.replace("ControlNet", ""));
  return controlnet === null ? plain : classNameFor(task, plain, { controlnet: true });
}

/**
 * Picks the text-to-image pipeline of a model, whatever pipeline its folder names, as diffusers' class of this name does.
 *
 * @example
 * ```js
 * import { AutoPipelineForText2Image } from "instruct-pix2pix";
 *
 * const pipe = await AutoPipelineForText2Image.fromPretrained("./base");
 * const { images } = await pipe.run({ prompt: "a lighthouse", numInferenceSteps: 20 });
 * await images[0].save("lighthouse.png");
 * pipe.dispose();
 * ```
 */
export class AutoPipelineForText2Image {
  private constructor() {}

  /**
   * Loads a model by the text-to-image class of its family.
   *
   * @param options `controlnet` picks the class with ControlNets
   * @throws `ERR_CONFIG` for a model without one; otherwise as `InstructPix2PixPipeline.fromPretrained`
   */
  static async fromPretrained(pathOrId: string, options: LoadingWithControl): Promise<AnyControlNetTextToImage>;
  static async fromPretrained(pathOrId: string, options?: Loading): Promise<AnyTextToImage>;
  static async fromPretrained(pathOrId: string, options?: Loading): Promise<DiffusionPipeline> {
    return await load("text2image", pathOrId, options);
  }

  /**
   * The text-to-image pipeline with another pipeline's components, which both then share: nothing is loaded or copied, and a
   * component is freed with the last pipeline that holds it.
   *
   * @param components used instead of the pipeline's
   * @throws `ERR_CONFIG` if there is none, or if the components do not fit it
   */
  static fromPipe(pipe: DiffusionPipeline, components: SharedWithControl): AnyControlNetTextToImage;
  static fromPipe(pipe: DiffusionPipeline, components?: AutoShared): AnyTextToImage;
  static fromPipe(pipe: DiffusionPipeline, components: AutoShared = {}): DiffusionPipeline {
    return share("text2image", pipe, components);
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
 *
 * @example
 * ```js
 * import { AutoPipelineForImage2Image } from "instruct-pix2pix";
 *
 * const pipe = await AutoPipelineForImage2Image.fromPretrained("./base");
 * const { images } = await pipe.run({ prompt: "in winter", image: "photo.jpg", strength: 0.6 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class AutoPipelineForImage2Image {
  private constructor() {}

  /** As {@link AutoPipelineForText2Image.fromPretrained}, for image to image. */
  static async fromPretrained(pathOrId: string, options: LoadingWithControl): Promise<AnyControlNetImageToImage>;
  static async fromPretrained(pathOrId: string, options?: Loading): Promise<AnyImageToImage>;
  static async fromPretrained(pathOrId: string, options?: Loading): Promise<DiffusionPipeline> {
    return await load("image2image", pathOrId, options);
  }

  /** As {@link AutoPipelineForText2Image.fromPipe}, for image to image. */
  static fromPipe(pipe: DiffusionPipeline, components: SharedWithControl): AnyControlNetImageToImage;
  static fromPipe(pipe: DiffusionPipeline, components?: AutoShared): AnyImageToImage;
  static fromPipe(pipe: DiffusionPipeline, components: AutoShared = {}): DiffusionPipeline {
    return share("image2image", pipe, components);
  }

  /** As {@link AutoPipelineForText2Image.classNameFor}, for image to image. */
  static classNameFor(className: string, options?: { controlnet?: boolean }): string {
    return classNameFor("image2image", className, options);
  }
}

/**
 * Picks the inpainting pipeline of a model, whatever pipeline its folder names, as diffusers' class of this name does.
 *
 * @example
 * ```js
 * import { AutoPipelineForInpainting } from "instruct-pix2pix";
 *
 * const pipe = await AutoPipelineForInpainting.fromPretrained("./base");
 * const { images } = await pipe.run({
 *   prompt: "a red door",
 *   image: "photo.jpg",
 *   maskImage: "mask.png",
 *   numInferenceSteps: 20,
 * });
 * await images[0].save("door.png");
 * pipe.dispose();
 * ```
 */
export class AutoPipelineForInpainting {
  private constructor() {}

  /** As {@link AutoPipelineForText2Image.fromPretrained}, for inpainting. */
  static async fromPretrained(pathOrId: string, options: LoadingWithControl): Promise<AnyControlNetInpainting>;
  static async fromPretrained(pathOrId: string, options?: Loading): Promise<AnyInpainting>;
  static async fromPretrained(pathOrId: string, options?: Loading): Promise<DiffusionPipeline> {
    return await load("inpainting", pathOrId, options);
  }

  /** As {@link AutoPipelineForText2Image.fromPipe}, for inpainting. */
  static fromPipe(pipe: DiffusionPipeline, components: SharedWithControl): AnyControlNetInpainting;
  static fromPipe(pipe: DiffusionPipeline, components?: AutoShared): AnyInpainting;
  static fromPipe(pipe: DiffusionPipeline, components: AutoShared = {}): DiffusionPipeline {
    return share("inpainting", pipe, components);
  }

  /** As {@link AutoPipelineForText2Image.classNameFor}, for inpainting. */
  static classNameFor(className: string, options?: { controlnet?: boolean }): string {
    return classNameFor("inpainting", className, options);
  }
}

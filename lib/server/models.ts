import type { FromPretrainedOptions } from "../components/load.js";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { BUILT_IN_GUIDANCE, type BuiltInKind } from "../models/built-in.js";
import { AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image } from "../pipelines/auto.js";
import { DiffusionPipeline } from "../pipelines/diffusion_pipeline.js";
import { classNameFor, type Task } from "../pipelines/families.js";
import { LatentPipeline } from "../pipelines/latent_pipeline.js";
import type { ImagesResult } from "../pipelines/run-options.js";
import { trainedSize } from "../pipelines/size.js";
import { schedulerFromClassName } from "../schedulers/registry.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { HttpError } from "./errors.js";

/** Where a model comes from: a folder or the id of a repository on the Hugging Face hub, with options of `fromPretrained`. */
export interface ModelSource extends FromPretrainedOptions {
  from: string;
}

/** A pipeline that makes images. */
export interface ImagePipeline {
  readonly className: string;
  run(options: object): Promise<ImagesResult>;
  dispose(): void;
}

/** The models of a server, by the names that requests have. A pipeline stays the caller's. */
export type ServerModels = Readonly<Record<string, string | ModelSource | ImagePipeline>>;

/** What a request wants a model for. */
export type Use = "edit" | "inpaint" | "generate";

/** What the list of models says of one beside its name. */
export interface ModelDescription {
  /** In diffusers. */
  class_name: string;
  uses: Use[];
  /** Whether prompts say what to change. */
  instructed: boolean;
  /** WIDTHxHEIGHT that it was trained for; null if that is not known, or not before it is loaded. */
  size: string | null;
  /** Which of the built-in models it is, by what it edits; null for any other. */
  built_in: BuiltInKind | null;
  /** The guidance that suits it; null for the pipeline's own. */
  guidance_scale: number | null;
}

/** A model that is loaded. */
export interface ServedModel {
  readonly name: string;
  /** Seconds since 1970 at which the server learned of it. */
  readonly created: number;
  readonly about: ModelDescription;
  /**
   * The pipeline for a use, with a scheduler of its own if one is named.
   *
   * @returns it belongs to the caller
   * @throws a 400 if the model is not for it
   */
  pipelineFor(use: Use, scheduler: string | undefined): { pipeline: ImagePipeline } & Disposable;
}

/** A loaded model, as requests use it. */
export function serve(name: string, pipeline: ImagePipeline, about: ModelDescription, created: number): ServedModel {
  return {
    ...{ name, created, about },
    pipelineFor(use, scheduler) {
      const own = /InstructPix2Pix/.test(pipeline.className);
      const suits = own ? use === "edit" : true;
      try {
        if (!suits) throw new InstructPix2PixError("ERR_CONFIG", `it is for edits`);
        // Nothing to share, as with a pipeline that is no DiffusionPipeline.
        if (own && scheduler === undefined) return { pipeline, [Symbol.dispose]: () => {} };
        const shared = sharedFor(own ? undefined : use, pipeline as unknown as DiffusionPipeline, scheduler);
        return { pipeline: shared, [Symbol.dispose]: () => shared.dispose() };
      } catch (error) {
        if (!isInstructPix2PixError(error, "ERR_CONFIG")) throw error;
        const problem = `the model ${quote(name)} (${pipeline.className}) cannot ${DOING[use]}: ${error.message}`;
        throw new HttpError(400, "ERR_MODEL", problem, { param: "model" });
      }
    },
  };
}

const TASKS = { edit: "image2image", inpaint: "inpainting", generate: "text2image" } as const;

export function describeModel(pipeline: ImagePipeline, builtIn?: BuiltInKind): ModelDescription {
  const size = pipeline instanceof LatentPipeline ? trainedSize(pipeline) : undefined;
  const about = describeClass(pipeline.className, builtIn);
  const uses = about.instructed ? about.uses : about.uses.filter((use) => canBe(use, pipeline));
  return { ...about, uses, size: size ? `${size.width}x${size.height}` : null };
}

/** Whether the components fit the use: a UNet with channels for masks can do nothing else. */
function canBe(use: Use, pipeline: ImagePipeline): boolean {
  if (!(pipeline instanceof DiffusionPipeline)) return true;
  try {
    sharedFor(use, pipeline, undefined).dispose();
    return true;
  } catch (error) {
    if (isInstructPix2PixError(error, "ERR_CONFIG")) return false;
    throw error;
  }
}

/** What the class alone says of a model. */
export function describeClass(className: string, builtIn?: BuiltInKind): ModelDescription {
  const instructed = /InstructPix2Pix/.test(className);
  const uses = Object.keys(TASKS) as Use[];
  return {
    class_name: className,
    uses: instructed ? ["edit"] : uses.filter((use) => isForTask(TASKS[use], className)),
    instructed,
    size: null,
    built_in: builtIn ?? null,
    guidance_scale: builtIn ? BUILT_IN_GUIDANCE.guidanceScale : null,
  };
}

function isForTask(task: Task, className: string): boolean {
  try {
    return classNameFor(task, className) !== "";
  } catch (error) {
    if (isInstructPix2PixError(error, "ERR_CONFIG")) return false;
    throw error;
  }
}

const DOING: Readonly<Record<Use, string>> = {
  edit: "change an image in this way",
  inpaint: "paint the masked part of an image",
  generate: "make images from text alone",
};

const AUTO = {
  edit: AutoPipelineForImage2Image,
  inpaint: AutoPipelineForInpainting,
  generate: AutoPipelineForText2Image,
} as const;

/** The pipeline for a use with the same components, of which only the scheduler differs. */
function sharedFor(use: Use | undefined, pipeline: DiffusionPipeline, scheduler: string | undefined): ImagePipeline {
  const own = pipeline.components.scheduler as Scheduler;
  const components =
    scheduler === undefined ? {} : { scheduler: schedulerFromClassName(scheduler).fromConfig(own.config) };
  if (use === undefined)
    return (
      pipeline.constructor as typeof DiffusionPipeline & { fromPipe: (from: object, parts: object) => unknown }
    ).fromPipe(pipeline, components) as ImagePipeline;
  return AUTO[use].fromPipe(pipeline, components as never) as unknown as ImagePipeline;
}

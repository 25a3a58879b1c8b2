import type { LoadProgress } from "../../components/load-progress.js";
import type { DownloadProgress } from "../../hub/index.js";
import type { OptionDeclarations } from "../../options/declaration.js";
import type { RunProgress } from "../../pipelines/run-options.js";
import type { CommandIo } from "../command.js";
import { type Reporter, showsBar } from "../reporting.js";
import { BarReporter } from "./bar-reporter.js";
import { JsonReporter } from "./json-reporter.js";
import { LineReporter } from "./line-reporter.js";

/** One denoising step that is done. */
export interface StepEvent {
  /** Counts from 1, through all tiles. */
  step: number;
  /** Of all tiles. */
  totalSteps: number;
  /** Of several tiles; counts from 1. */
  tile?: number;
  tiles?: number;
  timestep: number;
  /** Undefined before two steps are done. */
  stepsPerSecond: number | undefined;
}

/** The result of a command. */
export interface PictureSummary {
  /** The files written. */
  outputs: string[];
  /** For each image, whether the safety checker replaced it; undefined without one. */
  nsfw?: boolean[] | undefined;
  /** The pipeline's class. */
  pipeline: string;
  /** The class of the refiner's pipeline; undefined without one. */
  refiner: string | undefined;
  /** Size of the images written, in pixels. */
  width: number;
  height: number;
  seed: bigint;
  scheduler: string;
  device: string;
  dtype: string;
  steps: number;
  /** Undefined for a single step. */
  stepsPerSecond: number | undefined;
  /** `run` is what the pipeline took. */
  seconds: { load: number; run: number; total: number };
  /** Peak resident memory of this process, in bytes. */
  peakMemory: number;
  /** Peak memory of tensors on the CUDA device, in bytes; undefined on the CPU. */
  peakDeviceMemory: number | undefined;
}

/** What a command calls its work. */
export interface Activity {
  /** The command's name: "edit". */
  name: string;
  /** On a progress bar: "editing". */
  doing: string;
  /** The command's options, whose flags stand in messages of errors. */
  options: OptionDeclarations;
}

/** Reports the progress of a command that makes images to the user or a program. */
export interface PictureReporter extends Reporter {
  /** Files of the model are being downloaded from the hub. */
  downloading(progress: DownloadProgress): void;
  /** The model is being loaded from its folder or file. */
  loading(path: string): void;
  /** @param steps the number of steps that is asked for; undefined where they are given one by one */
  loaded(seconds: number, steps: number | undefined): void;
  /** A stage begins, or goes on: of loading too. */
  stage(progress: LoadProgress | RunProgress): void;
  step(event: StepEvent): void;
  warning(text: string): void;
  /** Something to know, which is no warning. */
  note(text: string): void;
  /** Something that only --verbose shows. */
  detail(text: string): void;
  done(summary: PictureSummary): void;
}

export interface ReporterOptions {
  activity: Activity;
  json: boolean;
  progress: boolean;
  quiet: boolean;
  verbose: boolean;
}

/** A bar where standard error is a terminal, plain lines on standard output elsewhere, JSON if asked for. */
export function createReporter(options: ReporterOptions, io: Pick<CommandIo, "stdout" | "stderr">): PictureReporter {
  if (options.json) return new JsonReporter(options, io);
  return showsBar(options, io) ? new BarReporter(options, io) : new LineReporter(options, io);
}

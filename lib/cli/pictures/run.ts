import { peakDeviceMemory } from "../../core/cuda.js";
import { resolveDevice } from "../../core/device.js";
import { resolveDType } from "../../core/dtype.js";
import { throwIfAborted } from "../../core/errors.js";
import { Generator, randomSeed } from "../../core/generator.js";
import { allowTf32, useDeterministicAlgorithms } from "../../core/numerics.js";
import type { Tensor } from "../../core/tensor.js";
import { imageGrid, type RgbImage } from "../../images/index.js";
import { checkQuantization } from "../../models/pretrained.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import type { ImagesResult, RunProgress, StepProgress } from "../../pipelines/run-options.js";
import { loadAddon } from "../../runtime/load.js";
import { native } from "../../runtime/native.js";
import { schedulerFromClassName } from "../../schedulers/registry.js";
import type { CommandIo } from "../command.js";
import { reported } from "../reporting.js";
import { checkWeightedPrompts } from "./check.js";
import { StepClock } from "./clock.js";
import { familyOfModel, type KandinskyFamily, type ModelFamily } from "./family.js";
import { type ImagePipeline, type PictureJob, type PriorJob, type SharedRunOptions, sharedRunOptions } from "./job.js";
import { loadLoras, parseLoras } from "./lora.js";
import { findModel } from "./model.js";
import type { PictureValues } from "./options.js";
import { planOutputs } from "./outputs.js";
import { type Activity, createReporter, type PictureReporter } from "./reporter.js";
import { replacedText } from "./text.js";

/** Reads and checks what a command was given; the model comes later. */
export type PrepareJob = (surroundings: {
  signal: AbortSignal | undefined;
  warn: (text: string) => void;
  /** The family of the model, which may be read from the hub. */
  family: () => Promise<ModelFamily | KandinskyFamily>;
  /** Prints a line that is no warning. */
  tell: (line: string) => void;
}) => Promise<PictureJob>;

/**
 * Runs a command that makes images. Cheap checks come first; the model, which takes longest, is loaded last.
 *
 * @returns the exit status
 */
export async function runPictures(
  values: PictureValues,
  io: CommandIo,
  activity: Activity,
  prepare: PrepareJob,
): Promise<number> {
  const reporter = createReporter({ ...values, activity }, io);
  const warn = (text: string) => reporter.warning(text);
  await reported(reporter, warn, () => makePictures(values, io, reporter, prepare));
  return 0;
}

async function makePictures(
  values: PictureValues,
  { env, signal }: CommandIo,
  reporter: PictureReporter,
  prepare: PrepareJob,
): Promise<void> {
  const started = performance.now();
  const device = await setUp(values, env);
  const scheduler = values.scheduler === undefined ? undefined : schedulerFromClassName(values.scheduler);
  checkWeightedPrompts(values);
  const loras = parseLoras(values);
  const outputs = await planOutputs(values.output, values.grid ? 1 : values.numImagesPerPrompt);
  const family = () => familyOfModel(values, { env, signal });
  const job = await prepare({
    signal,
    warn: (text) => reporter.warning(text),
    tell: (line) => reporter.note(line),
    family,
  });
  const surroundings = { env, signal, reporter, scheduler };
  const load = await findModel(values, job, surroundings);
  const refining = { ...values, model: values.refiner, config: undefined };
  const loadPrior =
    job.prior &&
    (await findModel(priorValues(values, job.prior), job.prior, { ...surroundings, scheduler: undefined }));
  const loadRefiner = job.refiner && (await findModel(refining, job.refiner, surroundings));

  const loadingSince = performance.now();
  const first = values.enableModelCpuOffload ? "cpu" : device;
  using model = await load(first);
  using prior = await loadPrior?.(first);
  using joined = job.prior?.join(model, prior);
  const pipeline = (joined ?? model) as typeof model;
  using refiner = await loadRefiner?.(first);
  await loadLoras(pipeline, loras, { ...values, signal });
  for (const each of [pipeline, refiner]) if (each) await place(each, values, device, reporter);
  const loadSeconds = secondsSince(loadingSince);
  reporter.loaded(loadSeconds, stepsAsked(values));

  const seed = values.seed ?? BigInt(randomSeed());
  const clock = new StepClock();
  const runningSince = performance.now();
  const shared = {
    ...{ ...sharedRunOptions(values), signal },
    onProgress: (progress: RunProgress) => reporter.stage(progress),
    onStep: ({ step, totalSteps, timestep, tile = 0, tiles = 1 }: StepProgress) =>
      reporter.step({
        step: tile * totalSteps + step + 1,
        totalSteps: tiles * totalSteps,
        ...{ timestep, stepsPerSecond: clock.tick(), tile: tile + 1, tiles },
      }),
  };
  const { images: computed, nsfw } = await resultOf(job, pipeline, refiner, { ...shared, seed });
  const images = (await job.finish?.(computed)) ?? computed;
  const results = values.grid ? [await grid(job.original, images)] : images;
  // The rest takes milliseconds, and files are written atomically.
  throwIfAborted(signal);
  for (const [i, path] of outputs.entries()) await results[i]!.save(path);

  if (nsfw?.includes(true)) reporter.warning(replacedText(nsfw, values.grid ? undefined : outputs));
  reporter.done({
    ...{ outputs, nsfw },
    pipeline: pipeline.className,
    refiner: refiner?.className,
    width: results[0]!.width,
    height: results[0]!.height,
    seed,
    scheduler: pipeline.scheduler.className,
    device,
    dtype: pipeline.unet.dtype,
    steps: clock.steps,
    stepsPerSecond: clock.stepsPerSecond,
    seconds: { load: loadSeconds, run: secondsSince(runningSince), total: secondsSince(started) },
    peakMemory: process.resourceUsage().maxRSS * 1024,
    peakDeviceMemory: await peakDeviceMemory(device),
  });
}

/**
 * Loads libtorch and applies the options of computing.
 *
 * @returns the device
 */
async function setUp(values: PictureValues, env: CommandIo["env"]): Promise<string> {
  loadAddon({ libtorch: values.libtorch, env });
  if (values.numThreads !== undefined) await native().setThreads(values.numThreads);
  const device = resolveDevice(values.device);
  allowTf32(values.allowTf32);
  useDeterministicAlgorithms(values.deterministic);
  checkQuantization(values.quantization, resolveDType(values.dtype, device), device);
  return device;
}

/** What the options say of a prior, which is whole and of another repository. */
function priorValues(values: PictureValues, { model }: PriorJob): PictureValues {
  return { ...values, model, revision: undefined, quantization: "none" };
}

/** The result of a job. A refiner goes on with the latents, and with the generator of their noise. */
async function resultOf(
  job: PictureJob,
  pipeline: LatentPipeline,
  refiner: LatentPipeline | undefined,
  options: SharedRunOptions & { seed: bigint },
): Promise<ImagesResult> {
  if (!job.refiner || !refiner) return (await job.run(pipeline, options)) as ImagesResult;
  const { seed, ...shared } = options;
  const generator = new Generator("cpu", seed);
  const { images } = await job.run(pipeline, { ...shared, generator, outputType: "latent" });
  using latents = images as Tensor;
  return (await job.refiner.refine(refiner, latents, { ...shared, generator })) as ImagesResult;
}

/** Applies the options of memory. */
async function place(
  pipeline: ImagePipeline,
  { enableModelCpuOffload, vaeSlicing, vaeTiling }: PictureValues,
  device: string,
  reporter: PictureReporter,
): Promise<void> {
  if (enableModelCpuOffload) {
    if (device === "cpu") reporter.warning("--enable_model_cpu_offload has no effect on the CPU");
    await pipeline.enableModelCpuOffload(device);
  }
  pipeline.vae?.enableSlicing(vaeSlicing);
  pipeline.vae?.enableTiling(vaeTiling);
}

/** The results, to the right of the original at their size. */
async function grid(original: RgbImage | undefined, results: readonly RgbImage[]): Promise<RgbImage> {
  const { width, height } = results[0]!;
  return imageGrid(original ? [await original.resize(width, height, "lanczos"), ...results] : results);
}

/** Undefined where the steps are given one by one. */
function stepsAsked(values: PictureValues & { timesteps?: unknown; sigmas?: unknown }): number | undefined {
  return (values.timesteps ?? values.sigmas) === undefined ? values.numInferenceSteps : undefined;
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}

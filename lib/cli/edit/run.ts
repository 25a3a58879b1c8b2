import { peakDeviceMemory } from "../../core/cuda.js";
import { resolveDevice } from "../../core/device.js";
import { throwIfAborted } from "../../core/errors.js";
import { randomSeed } from "../../core/generator.js";
import { allowTf32, useDeterministicAlgorithms } from "../../core/numerics.js";
import { imageGrid, loadImage, type RgbImage } from "../../images/index.js";
import { checkQuantization } from "../../models/pretrained.js";
import { loadAddon } from "../../runtime/load.js";
import { native } from "../../runtime/native.js";
import { schedulerFromClassName } from "../../schedulers/registry.js";
import type { CommandIo } from "../command.js";
import { reported } from "../reporting.js";
import { StepClock } from "./clock.js";
import { findModel } from "./load.js";
import type { EditValues } from "./options.js";
import { planOutputs } from "./output.js";
import { createReporter, type EditReporter } from "./reporter.js";

/** Runs `ip2p edit`. Cheap checks come first; the model, which takes longest, is loaded last. */
export async function runEdit(values: EditValues, io: CommandIo): Promise<number> {
  const reporter = createReporter(values, io);
  const warn = (text: string) => reporter.warning(text);
  await reported(reporter, warn, () => edit(values, io, reporter));
  return 0;
}

async function edit(values: EditValues, { env, signal }: CommandIo, reporter: EditReporter): Promise<void> {
  const started = performance.now();
  loadAddon({ libtorch: values.libtorch, env });
  if (values.numThreads !== undefined) await native().setThreads(values.numThreads);
  const device = resolveDevice(values.device);
  allowTf32(values.allowTf32);
  useDeterministicAlgorithms(values.deterministic);
  checkQuantization(values.quantization, values.dtype, device);
  const Scheduler = values.scheduler === undefined ? undefined : schedulerFromClassName(values.scheduler);
  const outputs = await planOutputs(values.output, values.grid ? 1 : values.numImagesPerPrompt);
  const image = await loadImage(values.image, { signal });

  const loadModel = await findModel(values, { env, signal, reporter });
  const loadingSince = performance.now();
  const offloads = values.enableModelCpuOffload;
  if (offloads && device === "cpu") reporter.warning("--enable_model_cpu_offload has no effect on the CPU");
  using pipeline = await loadModel(offloads ? "cpu" : device);
  if (offloads) await pipeline.enableModelCpuOffload(device);
  pipeline.vae.enableSlicing(values.vaeSlicing);
  pipeline.vae.enableTiling(values.vaeTiling);
  if (Scheduler) pipeline.scheduler = Scheduler.fromConfig(pipeline.scheduler.config);
  const load = secondsSince(loadingSince);
  reporter.loaded(load, values.numInferenceSteps);

  const seed = values.seed ?? BigInt(randomSeed());
  const clock = new StepClock();
  const editingSince = performance.now();
  const { images } = await pipeline.run({
    image,
    seed,
    prompt: values.prompt,
    negativePrompt: values.negativePrompt,
    numInferenceSteps: values.numInferenceSteps,
    guidanceScale: values.guidanceScale,
    imageGuidanceScale: values.imageGuidanceScale,
    guidanceInterval: [values.guidanceStart, values.guidanceEnd] as const,
    deepCacheInterval: values.deepCacheInterval,
    numImagesPerPrompt: values.numImagesPerPrompt,
    eta: values.eta,
    allowNonFinite: values.allowNonFinite,
    signal,
    onStep: ({ step, totalSteps, timestep }) =>
      reporter.step({ step: step + 1, totalSteps, timestep, stepsPerSecond: clock.tick() }),
  });
  const results = values.grid ? [await beside(image, images, pipeline.vae.scaleFactor)] : images;
  // The rest takes milliseconds, and files are written atomically.
  throwIfAborted(signal);
  for (const [i, path] of outputs.entries()) await results[i]!.save(path);

  reporter.done({
    outputs,
    width: results[0]!.width,
    height: results[0]!.height,
    seed,
    scheduler: pipeline.scheduler.className,
    device,
    dtype: pipeline.unet.dtype,
    steps: clock.steps,
    stepsPerSecond: clock.stepsPerSecond,
    seconds: { load, edit: secondsSince(editingSince), total: secondsSince(started) },
    peakMemory: process.resourceUsage().maxRSS * 1024,
    peakDeviceMemory: await peakDeviceMemory(device),
  });
}

/** The original at the model's input size, and the results to its right. */
async function beside(original: RgbImage, edited: readonly RgbImage[], factor: number): Promise<RgbImage> {
  return imageGrid([await original.toMultipleOf(factor), ...edited]);
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}

import { realpath } from "node:fs/promises";
import { basename, join } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import type { Tensor } from "../../core/tensor.js";
import { readConfig, show } from "../../files/config.js";
import { disk } from "../../files/file-system.js";
import { loadSafetensors } from "../../files/safetensors.js";
import { exists } from "../../files/tree.js";
import { MODEL_CONFIG, weightBaseName } from "../../models/format.js";
import { readUNetConfig } from "../../models/unet_2d_condition.js";
import { readWeightShapes } from "../../models/weight-shapes.js";
import { resolveWeights } from "../../models/weights.js";
import { INSTRUCT_PIX2PIX } from "../../pipelines/components.js";
import { stepOf } from "../checkpoint/names.js";
import { disposeRecord, restoreTensors } from "../named-tensors.js";
import type { TrainOptions } from "../options.js";
import type { Resumption } from "../resume.js";
import { withTensors } from "../snapshot.js";
import { splitByModel, type Trainer } from "../trainer.js";

const AVERAGE = "unet_ema";

/**
 * Reads the readable parts of a checkpoint of diffusers' `train_instruct_pix2pix.py` (written through accelerate): the
 * UNet, its EMA weights, and the step in the folder's name. The rest are pickles, which are never read: the optimizer's
 * moments, the learning-rate scheduler, the gradient scaler and the random generators. A warning says so.
 *
 * @throws `ERR_CHECKPOINT` if the UNet or the step is missing, if it is another script's UNet, or if the average does not
 * fit it; `ERR_CONFIG` with `compat`, which must reproduce the script's draws; what reading the configuration throws
 */
export async function readDiffusersCheckpoint(
  folder: string,
  options: Pick<TrainOptions, "compat" | "lora" | "useEma" | "trainTextEncoder" | "mixedPrecision">,
  warn: (message: string) => void,
): Promise<Resumption> {
  if (options.compat)
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `${folder} was written by diffusers' script: the states of its random generators are pickles, which are never read, so compat "diffusers" cannot go on from it`,
    );
  const step = stepOf(basename(await realpath(folder)));
  if (step === undefined)
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${folder} was written by diffusers' script, which keeps the step in the folder's name alone; name it checkpoint-STEP`,
    );
  if (!(await exists(disk, join(folder, INSTRUCT_PIX2PIX.components.unet.folder, MODEL_CONFIG))))
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${folder} was written by diffusers' script or another program with accelerate, and has no UNet in a folder unet/`,
    );
  await checkChannels(folder);
  const hasAverage = await exists(disk, join(folder, AVERAGE));
  const taken = ["the UNet", ...(hasAverage && options.useEma ? ["its EMA weights"] : []), `step ${step}`];
  const lost = ["AdamW's moments, which start at zero", "the random generators, which are seeded anew"];
  if (options.mixedPrecision === "fp16") lost.push("the gradient scaler, which starts at its first scale");
  if (options.useEma && !hasAverage) lost.push("EMA weights, which start from the UNet");
  if (options.trainTextEncoder) lost.push("a text encoder, which is the base model's");
  warn(
    `${folder} was written by diffusers' script; taken over: ${taken.join(", ")}; not available from it: ${lost.join("; ")}. The learning rate and the order of the data go on as at step ${step} of this run's options`,
  );
  if (options.lora)
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${folder}: was written by diffusers' script; a LoRA can be resumed from checkpoints of this package only`,
    );
  if (options.useEma && hasAverage) {
    await checkAverageShapes(folder);
    await checkAverageStep(folder, step, warn);
  }
  return { folder, step, state: undefined };
}

/** The script for text-to-image models leaves the same files; its UNet must not be taken for one to be extended. */
async function checkChannels(folder: string): Promise<void> {
  const { in_channels: channels, out_channels: latents } = await readUNetConfig(join(folder, "unet"));
  if (channels !== 2 * latents)
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${join(folder, "unet", MODEL_CONFIG)}: the UNet has ${channels} input channels, where a checkpoint of InstructPix2Pix has ${2 * latents}, for the noisy latents and those of the image; to start from a text-to-image model, give the model itself as pretrainedModelNameOrPath`,
    );
}

async function checkAverageShapes(folder: string): Promise<void> {
  const [unet, average] = await Promise.all(
    ["unet", AVERAGE].map((name) => readWeightShapes(join(folder, name), { baseName: weightBaseName("diffusers") })),
  );
  for (const name of new Set([...unet!.keys(), ...average!.keys()])) {
    const [expected, found] = [unet!, average!].map((shapes) => shapes.get(name));
    if (String(expected) !== String(found))
      throw new InstructPix2PixError(
        "ERR_CHECKPOINT",
        `${join(folder, AVERAGE)}: is not an average of the weights in unet/: ${show(name)} is ${shapeText(found)} here and ${shapeText(expected)} there; without useEma it is not needed`,
      );
  }
}

function shapeText(shape: readonly number[] | undefined): string {
  return shape ? `[${shape.join(", ")}]` : "missing";
}

/** The script updates the EMA weights in every step; another count implies another decay. */
async function checkAverageStep(folder: string, step: number, warn: (message: string) => void): Promise<void> {
  const { optimization_step: updates } = await readConfig(join(folder, AVERAGE, MODEL_CONFIG));
  if (updates !== undefined && updates !== step)
    warn(
      `${join(folder, AVERAGE)}: was updated ${String(updates)} times, not ${step}; it goes on as after step ${step}`,
    );
}

/** Restores the trainer's EMA weights from the checkpoint, if it has one. @throws as `restoreTensors` */
export async function restoreDiffusersAverage(folder: string, trainer: Trainer, isPart: boolean): Promise<void> {
  if (!(await exists(disk, join(folder, AVERAGE)))) return;
  const { files } = await resolveWeights(join(folder, AVERAGE), { baseName: weightBaseName("diffusers") });
  const saved: Record<string, Tensor> = Object.create(null);
  try {
    for (const file of files) Object.assign(saved, await loadSafetensors(file));
    await withTensors(await trainer.emaState(), (average) =>
      restoreTensors(splitByModel(average).unet, saved, "the EMA weights", isPart),
    );
  } finally {
    disposeRecord(saved);
  }
}

import { realpath } from "node:fs/promises";
import { basename, join } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import type { Tensor } from "../../core/tensor.js";
import { readConfig } from "../../files/config.js";
import { disk } from "../../files/file-system.js";
import { loadSafetensors } from "../../files/safetensors.js";
import { exists } from "../../files/tree.js";
import { resolveWeights } from "../../models/weights.js";
import { stepOf } from "../checkpoint/names.js";
import { disposeRecord, restoreTensors } from "../named-tensors.js";
import type { TrainOptions } from "../options.js";
import type { Resumption } from "../resume.js";
import { withTensors } from "../snapshot.js";
import { splitByModel, type Trainer } from "../trainer.js";

const AVERAGE = "unet_ema";

/**
 * Reads the readable parts of a checkpoint of diffusers' `train_instruct_pix2pix.py` (written through accelerate): the
 * UNet, its average, and the step in the folder's name. The rest are pickles, which are never read: the optimiser's
 * moments, the learning-rate scheduler, the gradient scaler and the random generators. A warning says so.
 *
 * @throws `ERR_CHECKPOINT` if the UNet or the step is missing; `ERR_CONFIG` with `compat`, which must reproduce the
 * script's draws
 */
export async function readDiffusersCheckpoint(
  folder: string,
  options: Pick<TrainOptions, "compat" | "useEma" | "trainTextEncoder" | "mixedPrecision">,
  warn: (message: string) => void,
): Promise<Resumption> {
  if (options.compat)
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `${folder} was written by diffusers' script: the states of its random generators are pickles, which are never read, so --compat diffusers cannot go on from it`,
    );
  const step = stepOf(basename(await realpath(folder)));
  if (step === undefined)
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${folder} was written by diffusers' script, which keeps the step in the folder's name alone; name it checkpoint-STEP`,
    );
  if (!(await exists(disk, join(folder, "unet", "config.json"))))
    throw new InstructPix2PixError(
      "ERR_CHECKPOINT",
      `${folder} was written by diffusers' script or another program with accelerate, and has no UNet in a folder unet/`,
    );
  const hasAverage = await exists(disk, join(folder, AVERAGE));
  const taken = ["the UNet", ...(hasAverage && options.useEma ? ["its average"] : []), `step ${step}`];
  const lost = ["AdamW's moments, which start at zero", "the random generators, which are seeded anew"];
  if (options.mixedPrecision === "fp16") lost.push("the gradient scaler, which starts at its first scale");
  if (options.useEma && !hasAverage) lost.push("an average, which starts from the UNet");
  if (options.trainTextEncoder) lost.push("a text encoder, which is the base model's");
  warn(
    `${folder} was written by diffusers' script; taken over: ${taken.join(", ")}; not available from it: ${lost.join("; ")}. The learning rate and the order of the data go on as at step ${step} of this run's options`,
  );
  if (options.useEma && hasAverage) await checkAverage(folder, step, warn);
  return { folder, step, state: undefined };
}

/** The script updates the average in every step; another count implies another decay. */
async function checkAverage(folder: string, step: number, warn: (message: string) => void): Promise<void> {
  const { optimization_step: updates } = await readConfig(join(folder, AVERAGE, "config.json"));
  if (updates !== undefined && updates !== step)
    warn(
      `${join(folder, AVERAGE)}: was updated ${String(updates)} times, not ${step}; it goes on as after step ${step}`,
    );
}

/** Restores the trainer's average from the checkpoint, if it has one. @throws as `restoreTensors` */
export async function restoreDiffusersAverage(folder: string, trainer: Trainer): Promise<void> {
  if (!(await exists(disk, join(folder, AVERAGE)))) return;
  const { files } = await resolveWeights(join(folder, AVERAGE), { baseName: "diffusion_pytorch_model" });
  const saved: Record<string, Tensor> = Object.create(null);
  try {
    for (const file of files) Object.assign(saved, await loadSafetensors(file));
    await withTensors(await trainer.emaState(), (average) =>
      restoreTensors(splitByModel(average).unet, saved, "the average of the weights"),
    );
  } finally {
    disposeRecord(saved);
  }
}

import { InstructPix2PixError } from "../core/errors.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { native } from "../runtime/native.js";
import { autoencoderMemory, latentsOf, unetMemory, unetWork } from "./footprint.js";
import { availableOn, NEGLIGIBLE } from "./free-memory.js";
import type { OutputType } from "./run-options.js";
import { trainedSize } from "./size.js";

/** What the memory of a run depends on. */
export interface MemoryCall {
  vae: AutoencoderKL;
  unet: UNet2DConditionModel;
  /** The rows of guidance that are computed. */
  rows: readonly unknown[];
  /** Number of results. */
  count: number;
  device: string;
  outputType: OutputType;
}

/** What is computed, in pixels. */
interface Size {
  height: number;
  width: number;
  /** Whether there are pixels to encode. Default false. */
  encoded?: boolean;
}

/**
 * Refuses images that memory cannot hold, before anything is computed.
 *
 * @param available bytes that the device has left; by default they are asked for
 * @throws `ERR_OUT_OF_MEMORY`, with estimates of memory and time, and naming what helps
 */
export async function checkMemory(call: MemoryCall, size: Size, available = availableOn): Promise<void> {
  const needed = memoryOf(call, size);
  if (needed < NEGLIGIBLE) return;
  const free = await available(call.device);
  if (needed <= free) return;
  throw new InstructPix2PixError("ERR_OUT_OF_MEMORY", refusal(call, size, { needed, free }));
}

/** Bytes of features of a run, the largest of its stages. */
function memoryOf({ vae, unet, rows, count, outputType }: MemoryCall, size: Size, tiled?: boolean): number {
  const steps = unetMemory(unet.config, latentsOf(size, vae.config), {
    rows: rows.length * count,
    bytes: bytesOf(unet),
  });
  if (!size.encoded && outputType === "latent") return steps;
  const { part, rows: together } = vae.partsOf({ ...size, rows: count }, tiled);
  return Math.max(steps, autoencoderMemory(vae.config, part, { rows: together, bytes: bytesOf(vae) }));
}

function refusal(call: MemoryCall, size: Size, { needed, free }: { needed: number; free: number }): string {
  const { vae, unet } = call;
  const own = trainedSize({ unet, vae });
  const text = ({ width, height }: Size) => `${width}×${height}`;
  const what = `a run at ${text(size)} pixels needs about ${gigabytes(needed)} of memory beside the weights`;
  const tiled = memoryOf(call, size, true);
  const tiles = tiled < needed ? ` or use vae.enableTiling(), with which it needs about ${gigabytes(tiled)}` : "";
  const smaller = own && own.width * own.height < size.width * size.height;
  const remedy = smaller
    ? `give a maxSize, such as ${Math.max(own.width, own.height)}, for which the model was trained,${tiles}`
    : `give fewer or smaller images,${tiles}`;
  const times = smaller
    ? `; a step would take about ${Math.round(slower(call, size, own))} times as long as at ${text(own)}`
    : "";
  return `${what}, but ${gigabytes(free)} are free: ${remedy.replace(/,$/, "")}${times}`;
}

/** How many times as long a step takes as at another size. */
function slower({ unet, vae }: MemoryCall, size: Size, than: Size): number {
  const work = (pixels: Size) => unetWork(unet.config, latentsOf(pixels, vae.config));
  return work(size) / work(than);
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toPrecision(2)} GB`;
}

/** Bytes of a number among a model's features. */
export function bytesOf({ dtype, device }: Pick<UNet2DConditionModel, "dtype" | "device">): number {
  if (dtype === "float32") return 4;
  return device === "cpu" && native().systemInfo().cpuArithmetic[dtype] === "float32" ? 4 : 2;
}

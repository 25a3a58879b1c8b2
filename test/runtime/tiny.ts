import type { Tensor } from "../../lib/core/tensor.js";
import type { EditOptions } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { native } from "../../lib/runtime/native.js";
import { fixture } from "../helpers/fixtures.js";

export const tinyModel = fixture("ip2p-tiny", "model");
export const tinyImage = fixture("ip2p-tiny", "image.png");

/** The tiny pipeline, on one thread: with more, a model this small has its threads wait for each other. */
export async function tinyPipeline(): Promise<InstructPix2PixPipeline> {
  await native().setThreads(1);
  return InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" });
}

/** A quick edit; given options take precedence. */
export function quickEdit(more: Partial<EditOptions> = {}): EditOptions {
  const prompt = more.promptEmbeds ? undefined : "make it a snowy day";
  return { prompt, image: tinyImage, numInferenceSteps: 2, seed: 0, ...more };
}

/** The elements of a tensor as bytes, for comparing bit for bit; disposes of it. */
export async function bits(tensor: Tensor): Promise<Buffer> {
  const { buffer, byteOffset, byteLength } = await tensor.toArray();
  tensor.dispose();
  return Buffer.from(buffer, byteOffset, byteLength);
}

/**
 * Objects with native memory that an action leaves undisposed every time; its result must be none. The most of a few
 * times, since older garbage may be collected meanwhile.
 */
export async function objectsLeftBehind(action: () => Promise<unknown>): Promise<number> {
  const left: number[] = [];
  for (let i = 0; i < 3; i++) {
    const before = native().memoryUsage().objects;
    await action();
    left.push(native().memoryUsage().objects - before);
  }
  return Math.max(0, ...left);
}

// What the programs in this folder share: the compiled package, and the tiny model.
import { fileURLToPath } from "node:url";
import { native } from "../../../dist/runtime/native.js";

export { Tensor } from "../../../dist/core/tensor.js";
export { UNet2DConditionModel } from "../../../dist/models/unet_2d_condition.js";

export const fixture = (...parts) => fileURLToPath(new URL(["../../fixtures", ...parts].join("/"), import.meta.url));
export const tinyModel = fixture("ip2p-tiny", "model");
export const tinyImage = fixture("ip2p-tiny", "image.png");

export { native };

/** One computing thread: with more, a model this small has its threads wait for each other. */
export const onOneThread = () => native().setThreads(1);

export const loadPipeline = async () => {
  const { InstructPix2PixPipeline } = await import("../../../dist/pipelines/stable_diffusion/instruct_pix2pix.js");
  await onOneThread();
  return InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" });
};

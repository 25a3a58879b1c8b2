import type { Controls } from "../../conditioning/guided-control.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { Scope } from "../../core/scope.js";
import type { Tensor } from "../../core/tensor.js";
import { type ImageSource, loadImage, type RgbImage } from "../../images/index.js";
import { sizeForFactor } from "../../images/resize.js";
import { givenNotFinite } from "../finite.js";
import {
  oneTensor,
  type PartialSize,
  type PipelineImage,
  partsOf,
  picturePixels,
  resizedNearest,
  tensorShape,
} from "../image-input.js";
import type { LatentCall } from "../latent_pipeline.js";
import { checkLatents, expandRows } from "../latents.js";
import type { ControlCall } from "./options.js";

/** Tensors of this many channels are no pixels, as diffusers takes them, and keep their size. */
const UNSIZED = 4;

/** The ControlNets of a run with their images, and the images' size in pixels. */
export interface ReadyControls extends Controls, Disposable {
  size: { height: number; width: number };
}

/**
 * Reads control images, and resizes them as diffusers does: images with Lanczos, tensors to the nearest neighbour.
 *
 * @param size of the result; sides that are left out are those of the first image
 * @throws what {@link loadImage} throws; `ERR_INVALID_ARGUMENT` if the images of several ControlNets differ in size
 */
export async function readControls(control: ControlCall, call: LatentCall, size: PartialSize): Promise<ReadyControls> {
  const scope = new Scope();
  try {
    const nets: Controls["nets"][number][] = [];
    let first: ReadyControls["size"] | undefined;
    for (const { net, image, ...rest } of control.nets) {
      using pixels = await unitPixels(control.name, image, call, size);
      const [, , height, width] = pixels.shape as [number, number, number, number];
      first ??= { height, width };
      if (first.height !== height || first.width !== width)
        throw new InstructPix2PixError(
          "ERR_INVALID_ARGUMENT",
          `${control.name} holds control images of ${first.width}×${first.height} and ${width}×${height} pixels: give images of one size, or height and width`,
        );
      using placed = await pixels.to({ device: call.device, dtype: net.dtype });
      nets.push({ net, picture: scope.add(await expandRows(placed, call)), ...rest });
    }
    const dispose = () => scope[Symbol.dispose]();
    return { nets, guessMode: control.guessMode, size: first!, [Symbol.dispose]: dispose };
  } catch (error) {
    scope[Symbol.dispose]();
    throw error;
  }
}

/** float32 [B,C,H,W] */
async function unitPixels(name: string, image: PipelineImage, call: LatentCall, size: PartialSize): Promise<Tensor> {
  const { vae, allowNonFinite, signal } = call;
  const factor = vae.scaleFactor;
  const parts = partsOf(name, image);
  const shape = tensorShape(name, image);
  if (!shape) return await picturePixels(parts as readonly ImageSource[], { factor, size, ...(signal && { signal }) });
  using tensor = await oneTensor(parts as readonly Tensor[]);
  if (!allowNonFinite && !(await tensor.isFinite())) throw givenNotFinite(name);
  const [, channels, height, width] = shape;
  if (channels === UNSIZED) return await tensor.to({ dtype: "float32" });
  const target = { height: size.height ?? height, width: size.width ?? width };
  return await resizedNearest(tensor, sizeForFactor(target, factor));
}

/**
 * Checks that an image has the size of its control images, which it does not decide.
 *
 * @returns the image, read
 * @throws `ERR_INVALID_ARGUMENT` naming both sizes
 */
export async function withSizeOf(
  { size: control }: ReadyControls,
  image: PipelineImage,
  { vae, signal }: LatentCall,
  size: PartialSize,
): Promise<PipelineImage> {
  const factor = vae.scaleFactor;
  const shape = tensorShape("image", image);
  const read: RgbImage[] = [];
  if (!shape) for (const part of partsOf("image", image)) read.push(await loadImage(part as ImageSource, { signal }));
  const isLatents = shape !== undefined && shape[1] === vae.config.latent_channels && shape[1] !== 3;
  const [height, width] = shape ? shape.slice(2) : [read[0]!.height, read[0]!.width];
  const own = isLatents
    ? { height: height! * factor, width: width! * factor }
    : sizeForFactor({ height: size.height ?? height!, width: size.width ?? width! }, factor);
  if (own.height !== control.height || own.width !== control.width)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `image makes ${own.width}×${own.height} pixels and controlImage ${control.width}×${control.height}: give images of one size, or height and width`,
    );
  return shape ? image : read;
}

/** Refuses given latents that are not [B·n,C,h,w] of the control images' size. */
export function checkGivenLatents({ latents, count, vae }: LatentCall, { size }: ReadyControls): void {
  const { height, width } = size;
  checkLatents(latents, [count, vae.config.latent_channels, height / vae.scaleFactor, width / vae.scaleFactor]);
}

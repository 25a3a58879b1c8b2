import type { Tensor } from "../../core/tensor.js";
import { checkTensors } from "../call.js";
import { checkUNetChannels, type UNetCheck } from "../compatibility.js";
import { checkImages, type PipelineImage } from "../image-input.js";
import type { LatentCall } from "../latent_pipeline.js";
import { checkLatents, checkPairing } from "../latents.js";
import { fittedPicture } from "../max-size.js";
import { refuseArgument, requireGiven } from "../options.js";
import type { OutputType } from "../run-options.js";
import { checkSize } from "../size.js";
import type { InpaintImageOptions } from "./options.js";
import { checkPaddingMaskCrop, countMasks } from "./pictures.js";

/** What a validated call of inpainting says of images and masks. */
export interface InpaintPicturesCall {
  image: PipelineImage;
  maskImage: PipelineImage;
  maskedImageLatents: Tensor | undefined;
  /** Margin of the part that is painted; undefined for the whole image. */
  paddingMaskCrop: number | undefined;
  size: { height: number; width: number };
  /** Whether the UNet takes the mask and the masked image, as inpainting models do. */
  takesMask: boolean;
}

/** A call whose size may be that of the image, which is not read yet. */
export type Unsized<Call extends InpaintPicturesCall> = Omit<Call, "size"> & { size: Call["size"] | undefined };

/** A validated call of inpainting. */
export type InpaintCall = LatentCall & InpaintPicturesCall & { strength: number };

/** UNets of inpainting models take mask and masked image behind the latents, those of text-to-image models nothing. */
export const checkInpaintUNet: UNetCheck = (unet, vae, index) =>
  checkUNetChannels(unet, vae, [vae.latent_channels + 1, 0], index);

/** Validates what is given to paint in, as far as it shows without the components. */
export function checkInpaintPictures(options: InpaintImageOptions): void {
  const { image, maskImage, maskedImageLatents } = options;
  requireGiven("image", image);
  requireGiven("maskImage", maskImage);
  checkTensors({ maskedImageLatents });
}

/** Validates it together with the components. */
export function inpaintPictures(
  { image, maskImage, maskedImageLatents, paddingMaskCrop }: InpaintImageOptions,
  { unet, vae, outputType }: Pick<LatentCall, "unet" | "vae"> & { outputType: OutputType },
): Omit<InpaintPicturesCall, "size"> {
  checkInpaintUNet(unet.config, vae.config);
  return {
    ...{ image, maskImage, maskedImageLatents },
    paddingMaskCrop: checkPaddingMaskCrop(paddingMaskCrop, { image, maskImage }, outputType),
    takesMask: unet.config.in_channels !== vae.config.latent_channels,
  };
}

/** [B·n,C,h,w] */
export function latentShape({
  count,
  vae,
  size,
}: Pick<InpaintCall, "count" | "vae" | "size">): [number, number, number, number] {
  const edge = (pixels: number) => Math.floor(pixels / vae.scaleFactor);
  return [count, vae.config.latent_channels, edge(size.height), edge(size.width)];
}

/**
 * The size of a call, with which everything is checked; undefined where `maxSize` leaves it to the image.
 *
 * @param multiple what both edges must be multiples of
 */
export function checkInpaintSize(
  options: InpaintImageOptions,
  call: LatentCall & Omit<InpaintPicturesCall, "size">,
  multiple: number,
): InpaintPicturesCall["size"] | undefined {
  if (call.maxSize !== undefined) return undefined;
  const size = checkSize(options, { ...call, multiple });
  checkInpaintShapes({ ...call, size });
  return size;
}

/** A call with its size, for which the image is read where it decides. */
export async function sized<Call extends LatentCall & InpaintPicturesCall>(checked: Unsized<Call>): Promise<Call> {
  if (checked.size) return checked as Call;
  const call = { ...checked, ...(await fittedPicture(checked, checked.maxSize!)) } as Call;
  checkInpaintShapes(call);
  return call;
}

/** Checks that the images, masks and tensors of a call fit together, as far as it shows before they are read. */
export function checkInpaintShapes(call: LatentCall & InpaintPicturesCall): void {
  const { image, maskImage, maskedImageLatents: masked, size } = call;
  const shape = latentShape(call);
  const [, C, h, w] = shape;
  const images = checkImages(image, { latentChannels: C });
  checkPairing("images", images.count, call);
  checkPairing("masks", countMasks(maskImage), call);
  checkLatents(call.latents, shape);
  if (images.latents && images.latents.join() !== [h, w].join())
    refuseArgument("image", `latents of ${images.latents.join("×")}`, `pixels, or latents of ${h}×${w}`);
  if (images.latents && call.takesMask && !masked)
    refuseArgument("image", "latents", "pixels, or maskedImageLatents must be given with it");
  if (!masked) return;
  const [rows, ...rest] = masked.shape;
  const known = [[C, h, w].join(), [3, size.height, size.width].join()];
  if (masked.shape.length !== 4 || !known.includes(rest.join()))
    refuseArgument("maskedImageLatents", `[${masked.shape}]`, `latents [B,${known[0]}] or pixels [B,${known[1]}]`);
  checkPairing("masked images", rows!, call);
}

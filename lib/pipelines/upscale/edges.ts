import { InstructPix2PixError } from "../../core/errors.js";
import type { UNet2DConditionConfig } from "../../models/unet_2d_condition.js";
import { sampleEdges } from "../../models/unet-k-blocks.js";
import { refuseArgument } from "../options.js";
import type { TileLimits } from "./tiles.js";

// What heights and widths the ×2 latent upscaler takes. Its UNet sees latents at twice the size.

/** Where a configuration does not say what size a model was trained for: that of the published upscaler. */
const USUAL_SAMPLE = 128;

/** What edges of images can be, in pixels. */
export function edgesOf(
  unet: { readonly config: Pick<UNet2DConditionConfig, "down_block_types" | "sample_size"> },
  vae: { readonly scaleFactor: number },
): TileLimits {
  const { multiple, least } = sampleEdges(unet.config);
  const pixels = (edge: number) => Math.max(1, edge / 2) * vae.scaleFactor;
  const { sample_size: sample } = unet.config;
  const trained = pixels(typeof sample === "number" ? sample : USUAL_SAMPLE);
  const own = Math.max(pixels(least), trained - (trained % pixels(multiple)));
  return { cell: vae.scaleFactor, multiple: pixels(multiple), least: pixels(least), own };
}

/** @throws `ERR_INVALID_ARGUMENT` for latents that the UNet does not take */
export function checkLatentEdges([height, width]: readonly [number, number], edges: TileLimits): void {
  const multiple = edges.multiple / edges.cell;
  const least = edges.least / edges.cell;
  const fits = (edge: number) => edge % multiple === 0 && edge >= least;
  if (fits(height) && fits(width)) return;
  refuseArgument(
    "image",
    `${height}×${width}`,
    `latents whose height and width are multiples of ${multiple} of at least ${least}, as this UNet needs`,
  );
}

/**
 * @param shape of pixels [B,3,H,W]
 * @throws `ERR_IMAGE` for images that are too small for the UNet
 */
export function checkPictureEdges(shape: readonly number[], { least }: TileLimits): void {
  const [, , height, width] = shape as [number, number, number, number];
  if (height >= least && width >= least) return;
  throw new InstructPix2PixError(
    "ERR_IMAGE",
    `an image of ${width}×${height} pixels is too small: this upscaler needs at least ${least} on each side`,
  );
}

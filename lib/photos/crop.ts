import { RgbImage } from "../images/rgb-image.js";
import type { Random } from "../world/random.js";

/** The least side of a crop, as a share of the photograph's shorter side. */
const LEAST_SHARE = 0.4;

/** A square of a photograph, in its pixels. */
export interface Crop {
  left: number;
  top: number;
  side: number;
  /** Whether it is mirrored, left to right. */
  mirrored: boolean;
}

/**
 * A random square: its side from 40 % to all of the shorter side, evenly on a logarithmic scale, but never less than the
 * resolution, so that nothing is enlarged; anywhere; every second one mirrored.
 */
export function randomCrop(
  { width, height }: { width: number; height: number },
  resolution: number,
  random: Random,
): Crop {
  const most = Math.min(width, height);
  const least = Math.max(resolution, LEAST_SHARE * most);
  const side = Math.min(most, Math.round(least * (most / least) ** random.float()));
  return {
    left: random.int(width - side + 1),
    top: random.int(height - side + 1),
    side,
    mirrored: random.chance(0.5),
  };
}

/** Cuts a square out and scales it down to the resolution, with sharp's Lanczos filter. */
export async function cutOut(
  image: RgbImage,
  { left, top, side, mirrored }: Crop,
  resolution: number,
): Promise<RgbImage> {
  const square = image.toSharp().extract({ left, top, width: side, height: side });
  const small = side === resolution ? square : square.resize(resolution, resolution, { kernel: "lanczos3" });
  const data = await (mirrored ? small.flop() : small).raw().toBuffer();
  return new RgbImage(resolution, resolution, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

/**
 * The size at which photographs are kept: the least crop still has the resolution, and decoding a large photograph anew for
 * every crop is spared.
 */
export async function reduced(image: RgbImage, resolution: number): Promise<RgbImage> {
  const shorter = Math.min(image.width, image.height);
  const enough = Math.ceil(resolution / LEAST_SHARE);
  if (shorter <= enough) return image;
  const [width, height] = [image.width, image.height].map((side) => Math.round((side * enough) / shorter)) as [
    number,
    number,
  ];
  const data = await image.toSharp().resize(width, height, { fit: "fill", kernel: "lanczos3" }).raw().toBuffer();
  return new RgbImage(width, height, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

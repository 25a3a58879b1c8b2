import { toHsv, turn } from "../colour.js";
import { clip, type Photo, type Plane, ramp, unitOf } from "../pixels.js";
import { blurPlane } from "./blur.js";

/** Blur of the mask, in shorter sides. */
const SOFTNESS = 0.012;
/** Rows of the image, in shorter sides, after which something that is no sky ends the sky of a column. */
const TOLERANCE = 0.03;

/** How much a colour can be that of a sky by day, 0..1: blue, or a bright grey of clouds. */
function looksLikeSky(r: number, g: number, b: number): number {
  const [hue, saturation, value] = toHsv(r, g, b);
  const blue = ramp(42, 28, Math.abs(turn(210, hue))) * ramp(0.08, 0.2, saturation) * ramp(0.22, 0.38, value);
  // Pale walls and skin are warm.
  const cloud = ramp(0.3, 0.16, saturation) * ramp(0.6, 0.75, value) * ramp(-0.06, -0.01, b - r);
  return Math.max(blue, cloud);
}

/**
 * Where the sky is, 0..1, by colour and position: what looks like sky from the upper border down without interruption, for each
 * column. A band of 3 % of the shorter side that does not ends it.
 */
export function skyOf(photo: Photo): Plane {
  const { width, height, data } = photo;
  const unit = unitOf(photo);
  const looks = new Float32Array(width * height);
  for (let i = 0, j = 0; i < looks.length; i++, j += 3) looks[i] = looksLikeSky(data[j]!, data[j + 1]!, data[j + 2]!);
  const around = blurPlane({ width, height, data: looks }, SOFTNESS * unit).data;
  const mask = new Float32Array(width * height);
  const loss = 1 / (TOLERANCE * unit);
  for (let x = 0; x < width; x++) {
    let open = 1;
    for (let y = 0; y < height; y++) {
      const i = y * width + x;
      open = clip(open - loss * clip(1 - 1.5 * around[i]!));
      mask[i] = ramp(0, 0.9, open) * around[i]!;
    }
  }
  return blurPlane({ width, height, data: mask }, (SOFTNESS / 2) * unit);
}

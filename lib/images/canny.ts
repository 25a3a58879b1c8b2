import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { ofThisRealm } from "../core/realm.js";
import { cancellable, native } from "../runtime/native.js";
import { loadImage } from "./index.js";
import type { LoadImageOptions } from "./load.js";
import { type ImageSource, RgbImage } from "./rgb-image.js";

/** Options of {@link cannyEdges}. */
export interface CannyOptions extends Pick<LoadImageOptions, "signal"> {
  /** Measures gradients as √(dx² + dy²), which is finer, instead of |dx| + |dy|. Default false. */
  l2Gradient?: boolean;
}

const OPTIONS = optionNames<CannyOptions>()({ l2Gradient: true, signal: true });

/**
 * The edges in an image (Canny 1986, "A Computational Approach to Edge Detection"), white on black, as a ControlNet for
 * edges takes them: pixel for pixel what OpenCV's `Canny` finds in the RGB image with an aperture of 3. Does not block the
 * event loop.
 *
 * @param lowThreshold what the gradient exceeds all along an edge, 0..2040; 100 is a start
 * @param highThreshold what it exceeds somewhere on an edge; 200 is a start. The two may change places.
 * @throws `ERR_INVALID_ARGUMENT`, and what {@link loadImage} throws
 *
 * @example
 * ```js
 * import { cannyEdges } from "instruct-pix2pix";
 *
 * const edges = await cannyEdges("photo.jpg", 100, 200);
 * await edges.save("edges.png");
 * ```
 */
export async function cannyEdges(
  image: ImageSource,
  lowThreshold: number,
  highThreshold: number,
  options: CannyOptions = {},
): Promise<RgbImage> {
  const { l2Gradient = false, signal } = checkOptions(options, OPTIONS);
  for (const [name, value] of Object.entries({ lowThreshold, highThreshold }))
    if (typeof value !== "number" || !Number.isFinite(value))
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} must be a finite number, not ${value}`);
  if (typeof l2Gradient !== "boolean")
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `l2Gradient must be true or false, not ${l2Gradient}`);
  const { width, height, data } = await loadImage(image, { signal });
  const edges = await cancellable(signal, (token) =>
    native().cannyEdges(data, width, height, lowThreshold, highThreshold, l2Gradient, token),
  );
  return new RgbImage(width, height, ofThisRealm(edges));
}

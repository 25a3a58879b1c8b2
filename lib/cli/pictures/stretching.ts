import type { RgbPixels } from "../../images/pixels.js";

type Size = Pick<RgbPixels, "width" | "height">;

/** @param rounding pixels that a side may be off */
export function haveOneShape(a: Size, b: Size, rounding: number): boolean {
  const longest = Math.max(a.width, a.height, b.width, b.height);
  return Math.abs(a.width * b.height - a.height * b.width) <= rounding * longest;
}

export function sizeText({ width, height }: Size): string {
  return `${width}×${height}`;
}

/** A mask is stretched to the image, as in diffusers; one of another shape is hardly meant for it. */
export function warnOfMaskShape(given: { image: Size; mask: Size; warn: (text: string) => void }): void {
  const { image, mask, warn } = given;
  if (haveOneShape(image, mask, 1)) return;
  const sizes = `the mask has ${sizeText(mask)} pixels and the image ${sizeText(image)}`;
  warn(`${sizes}: the mask is stretched to the image's shape`);
}

/** Says that an image is stretched, as in diffusers, which is hardly meant where its shape changes. */
export function warnOfStretching(image: Size, size: Size, rounding: number, warn: (text: string) => void): void {
  if (!haveOneShape(image, size, rounding))
    warn(
      `the image of ${sizeText(image)} pixels is stretched to ${sizeText(size)}; --height and --width say another size`,
    );
}

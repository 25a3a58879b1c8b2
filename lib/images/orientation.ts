import type { Metadata, Sharp } from "sharp";

/**
 * The orientation for display, 1 to 8 as in EXIF; 1 is upright. Like Pillow, falls back to XMP if the EXIF data has
 * none.
 */
export function orientationOf(metadata: Metadata): number {
  const xmp = metadata.orientation === undefined ? metadata.xmp?.toString("latin1") : undefined;
  const found = /tiff:Orientation(?:="|>)([0-9])/.exec(xmp ?? "")?.[1];
  const orientation = metadata.orientation ?? Number(found ?? 1);
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

/** Rotates an image upright; sharp always mirrors first and then rotates clockwise, regardless of the order of the calls. */
export function turnUpright(picture: Sharp, orientation: number): Sharp {
  switch (orientation) {
    case 2:
      return picture.flop();
    case 3:
      return picture.rotate(180);
    case 4:
      return picture.flip();
    case 5:
      return picture.flip().rotate(90);
    case 6:
      return picture.rotate(90);
    case 7:
      return picture.flop().rotate(90);
    case 8:
      return picture.rotate(270);
    default:
      return picture;
  }
}

import { builtInKind, builtInModel, builtInPhotoModel } from "../../models/built-in.js";
import { EXTENT } from "../../world/scene.js";

/** The built-in model for an image: the one for drawn shapes has images of one size only, and the other is for all photographs. */
export function builtInFor({ width, height }: { width: number; height: number }): string {
  return width === EXTENT && height === EXTENT ? builtInModel : builtInPhotoModel;
}

/** Says which built-in model is used, and what it can do. */
export function tellBuiltIn(folder: string, tell: (line: string) => void): void {
  const which =
    builtInKind(folder) === "photos"
      ? "the small built-in one for photographs is used, which changes light, colours, weather and manner"
      : `the small built-in one for drawings of shapes is used, since the image has ${EXTENT}×${EXTENT} pixels`;
  tell(`no --model is given: ${which}`);
}

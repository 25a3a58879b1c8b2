import { InstructPix2PixError } from "../core/errors.js";
import type { UNet2DConditionConfig } from "../models/unet_2d_condition.js";
import { checkCount } from "./options.js";

/** What a size depends on: of a pipeline's models, or made of their configurations. */
export interface SizedModels {
  unet: { readonly config: Pick<UNet2DConditionConfig, "sample_size"> };
  vae: { readonly scaleFactor: number };
}

/** Pixels along an edge; far above what any memory holds. */
const LARGEST = 2 ** 16;

/**
 * The size of a call's images in pixels: as given, else the one that the UNet was trained for.
 *
 * @param multiple what both edges must be multiples of
 * @throws `ERR_INVALID_ARGUMENT` naming the option and the nearest sizes that are possible
 */
export function checkSize(
  given: { height?: number | null | undefined; width?: number | null | undefined },
  { unet, vae, multiple }: SizedModels & { multiple: number },
): { height: number; width: number } {
  const edge = (name: "height" | "width", index: number): number => {
    const value = given[name] ?? ownSize({ unet, vae }, name, index);
    checkCount(name, value, LARGEST);
    if (value % multiple === 0) return value;
    const below = value - (value % multiple);
    const nearest = below === 0 ? `${multiple}` : `${below} or ${below + multiple}`;
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${name} must be a multiple of ${multiple}, not ${value}: give ${nearest}`,
    );
  };
  return { height: edge("height", 0), width: edge("width", 1) };
}

/** The size that the UNet was trained for, in pixels; undefined if its configuration does not say it. */
export function trainedSize(models: SizedModels): { height: number; width: number } | undefined {
  const [height, width] = [trainedEdge(models, 0), trainedEdge(models, 1)];
  return height === undefined || width === undefined ? undefined : { height, width };
}

/** From the UNet's configuration: one number, or height and width. */
function trainedEdge({ unet, vae }: SizedModels, index: number): number | undefined {
  const { sample_size: size } = unet.config;
  const latents: unknown = Array.isArray(size) ? size[index] : size;
  return typeof latents === "number" && Number.isSafeInteger(latents) && latents > 0
    ? latents * vae.scaleFactor
    : undefined;
}

function ownSize(models: SizedModels, name: string, index: number): number {
  const edge = trainedEdge(models, index);
  if (edge !== undefined) return edge;
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `give ${name}: the UNet's configuration has no "sample_size" to take it from`,
  );
}

import { describe } from "../../core/arguments.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import type { Tensor } from "../../core/tensor.js";
import type { ControlNetModel } from "../../models/controlnet.js";
import { type PipelineImage, partsOf, tensorShape } from "../image-input.js";
import { checkCount, checkFinite, refuseArgument } from "../options.js";
import { type ControlNets, netsOf } from "./components.js";

/**
 * The control image, as a ControlNet was trained with: edges, a depth map, a pose. One for all prompts, or one for each;
 * images, or a tensor [B,3,H,W] in 0..1. For several ControlNets a list of these, one for each.
 */
export type ControlImage = PipelineImage | readonly PipelineImage[];

/** Options of pipelines with ControlNets. */
export interface ControlNetOptions {
  /** How much the control image counts: one number, or one for each ControlNet. */
  controlnetConditioningScale?: number | readonly number[] | undefined;
  /** The fraction of the steps at which control begins, 0..1: one number, or one for each ControlNet. Default 0. */
  controlGuidanceStart?: number | readonly number[] | undefined;
  /** The fraction of the steps at which control ends, likewise. Default 1. */
  controlGuidanceEnd?: number | readonly number[] | undefined;
  /**
   * Controls only the prompt's prediction, and its deep features more than the fine ones, so that the image counts also
   * without a prompt; a `guidanceScale` of 3 to 5 is recommended. Default false, but true for ControlNets with
   * `global_pool_conditions`.
   */
  guessMode?: boolean | undefined;
}

export const CONTROLNET_OPTIONS = optionNames<ControlNetOptions>()({
  controlnetConditioningScale: true,
  controlGuidanceStart: true,
  controlGuidanceEnd: true,
  guessMode: true,
});

/** Options of a result's size, which the image decides otherwise. */
export interface ControlledSizeOptions {
  /** Pixels, rounded down to a multiple of the autoencoder's factor; images are resized to it. Default the image's. */
  height?: number | undefined;
  /** Likewise. */
  width?: number | undefined;
}

export const CONTROLLED_SIZE_OPTIONS = optionNames<ControlledSizeOptions>()({ height: true, width: true });

/** A ControlNet of a call. */
export interface ControlledNet {
  net: ControlNetModel;
  image: PipelineImage;
  scale: number;
  start: number;
  end: number;
}

/** The control of a call, validated, before its images are read. */
export interface ControlCall {
  /** The option that has the images. */
  name: "image" | "controlImage";
  nets: readonly ControlledNet[];
  guessMode: boolean;
}

interface Given {
  controlnet: ControlNets;
  /** The option with the control images. */
  name: ControlCall["name"];
  image: ControlImage;
  defaultScale: number;
  /** Number of prompts. */
  batch: number;
  /** Whether images for several ControlNets may be grouped by prompt, as diffusers takes them in text to image. */
  byPrompt?: boolean;
}

/**
 * Validates them, and the numbers of images.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option
 */
export function checkControl(options: ControlNetOptions, given: Given): ControlCall {
  const { controlnet, name, batch, defaultScale } = given;
  const nets = netsOf(controlnet);
  const several = Array.isArray(controlnet);
  const images = several ? imagesOf(given, nets.length) : [given.image as PipelineImage];
  if (images[0] === undefined || images[0] === null) refuseArgument(name, images[0], "given");
  const scales = perNet("controlnetConditioningScale", options.controlnetConditioningScale ?? defaultScale, given);
  const starts = perNet("controlGuidanceStart", options.controlGuidanceStart ?? 0, given);
  const ends = perNet("controlGuidanceEnd", options.controlGuidanceEnd ?? 1, given);
  for (const [i, start] of starts.entries()) {
    const end = ends[i]!;
    if (start < 0) refuseArgument("controlGuidanceStart", start, "at least 0");
    if (end > 1) refuseArgument("controlGuidanceEnd", end, "at most 1");
    if (start >= end)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `controlGuidanceStart ${start} must be below controlGuidanceEnd ${end}`,
      );
  }
  for (const [i, { config }] of nets.entries()) checkPictures(name, images[i]!, config.conditioning_channels, batch);
  const { guessMode = false } = options;
  if (typeof guessMode !== "boolean") refuseArgument("guessMode", guessMode, "true or false");
  return {
    name,
    nets: nets.map((net, i) => ({ net, image: images[i]!, scale: scales[i]!, start: starts[i]!, end: ends[i]! })),
    // As in diffusers, of several only the first decides.
    guessMode: guessMode || nets[0]!.config.global_pool_conditions,
  };
}

/** Validates a size of which sides may be left to the image. */
export function checkControlledSize(options: ControlledSizeOptions): ControlledSizeOptions {
  const side = (name: "height" | "width") => {
    const value = options[name] ?? undefined;
    return value === undefined ? undefined : checkCount(name, value, 2 ** 16);
  };
  return { height: side("height"), width: side("width") };
}

/** The images of several ControlNets, one entry for each. */
function imagesOf({ name, image, byPrompt }: Given, count: number): readonly PipelineImage[] {
  if (!Array.isArray(image))
    refuseArgument(name, describe(image), `a list of ${count}, one control image for each ControlNet`);
  const grouped = image.some((entry) => Array.isArray(entry));
  if (grouped && !byPrompt)
    refuseArgument(name, "a list of lists", "a list with one control image for each ControlNet");
  const wrong = grouped ? image.find((entry) => !Array.isArray(entry) || entry.length !== count) : undefined;
  if (wrong !== undefined || (!grouped && image.length !== count))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${name} has ${grouped ? [wrong].flat().length : image.length} control images${grouped ? " for a prompt" : ""}, but there are ${count} ControlNets`,
    );
  if (!grouped) return image as readonly PipelineImage[];
  const rows = image as readonly (readonly (string | Tensor)[])[];
  return Array.from({ length: count }, (_, net) => rows.map((row) => row[net]!) as PipelineImage);
}

/** One number for each ControlNet. */
function perNet(name: string, value: unknown, { controlnet }: Given): readonly number[] {
  const count = netsOf(controlnet).length;
  if (!Array.isArray(value)) return Array<number>(count).fill(checkFinite(name, value));
  if (value.length !== count)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${name} has ${value.length} entries, but there ${count === 1 ? "is 1 ControlNet" : `are ${count} ControlNets`}`,
    );
  return value.map((entry) => checkFinite(name, entry));
}

function checkPictures(name: string, image: PipelineImage, channels: number, batch: number): void {
  const shape = tensorShape(name, image);
  if (!shape && channels !== 3)
    refuseArgument(name, "images", `a tensor [B,${channels},H,W]: this ControlNet does not take images`);
  if (shape && shape[1] !== channels) refuseArgument(name, `[${shape}]`, `[B,${channels},H,W]`);
  const count = shape?.[0] ?? partsOf(name, image).length;
  if (count === 1 || count === batch) return;
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `${count} control images were given as ${name} for ${batch} prompts: give one, or one for each prompt`,
  );
}

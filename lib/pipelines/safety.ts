import type { ComponentSlot } from "../components/description.js";
import type { CLIPImageProcessor } from "../conditioning/clip_image_processor.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { RgbImage } from "../images/index.js";
import type { SafetyCheckerConfig, StableDiffusionSafetyChecker } from "../models/safety_checker.js";

/** What looks at a pipeline's results. Null or left out: they are not looked at. */
export interface SafetyComponents {
  /** Results in which it finds what it looks for are black. */
  safetyChecker?: StableDiffusionSafetyChecker | null | undefined;
  /** Prepares results for it. */
  featureExtractor?: CLIPImageProcessor | null | undefined;
}

/** Where pipelines have them. Many folders name them without having them. */
export const SAFETY_SLOTS: { readonly [K in keyof SafetyComponents]-?: ComponentSlot } = {
  safetyChecker: {
    folder: "safety_checker",
    classes: ["StableDiffusionSafetyChecker"],
    ...{ optional: true, mayLackFiles: true },
  },
  featureExtractor: {
    folder: "feature_extractor",
    classes: ["CLIPImageProcessor", "CLIPImageProcessorPil", "CLIPImageProcessorFast", "CLIPFeatureExtractor"],
    ...{ optional: true, mayLackFiles: true },
  },
};

/** What a run's results are looked at with. */
export interface SafetyCheck {
  safetyChecker: StableDiffusionSafetyChecker;
  featureExtractor: CLIPImageProcessor;
}

/**
 * Checks that a safety checker has the image processor that it needs.
 *
 * @param checker its configuration
 * @throws `ERR_CONFIG`
 */
export function checkSafety(
  checker: Pick<SafetyCheckerConfig, "vision_config"> | null | undefined,
  featureExtractor: CLIPImageProcessor | null | undefined,
): void {
  if (!checker) return;
  if (!featureExtractor)
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      "the safety checker needs a featureExtractor, which prepares results for it; safetyChecker: false does without both",
    );
  const { image_size: side } = checker.vision_config;
  const { outputSize: size } = featureExtractor;
  if (size && (size.height !== side || size.width !== side))
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `the featureExtractor makes images of ${size.width}×${size.height} pixels, but the safety checker takes ${side}×${side}`,
    );
}

/** The check of a pipeline with these components; undefined without a safety checker. Throws as {@link checkSafety}. */
export function safetyCheckOf({ safetyChecker, featureExtractor }: SafetyComponents): SafetyCheck | undefined {
  checkSafety(safetyChecker?.config, featureExtractor);
  return safetyChecker && featureExtractor ? { safetyChecker, featureExtractor } : undefined;
}

/** For each image, whether the safety checker finds what it looks for. */
export async function findUnsafe(
  pictures: readonly RgbImage[],
  { safetyChecker, featureExtractor }: SafetyCheck,
  signal?: AbortSignal | undefined,
): Promise<boolean[]> {
  using scope = new Scope();
  const options = signal ? { signal } : {};
  const pixels = scope.add(await featureExtractor.preprocess(pictures, options));
  const { nsfw, conceptScores, specialScores } = await safetyChecker.forward(pixels, options);
  scope.add(conceptScores);
  scope.add(specialScores);
  return nsfw;
}

/** An image of the same size. */
export function blackPicture({ width, height }: RgbImage): RgbImage {
  return new RgbImage(width, height, new Uint8Array(3 * width * height));
}

/** The tensor with some of its rows black. */
export async function blackRows(pixels: Tensor, black: readonly boolean[]): Promise<Tensor> {
  using scope = new Scope();
  const { device, dtype } = pixels;
  const zeros = scope.add(await Tensor.zeros([1, ...pixels.shape.slice(1)], { device, dtype }));
  const rows: Tensor[] = [];
  for (const [i, hidden] of black.entries()) rows.push(hidden ? zeros : scope.add(await pixels.slice(0, i, i + 1)));
  return await Tensor.cat(rows, 0);
}

import { fileURLToPath } from "node:url";

const folderOf = (name: string) => fileURLToPath(new URL(`../../models/${name}`, import.meta.url));

/**
 * The folder of the small model included in this package, for `fromPretrained`: it edits 64×64 images of simple
 * shapes (as drawn by `ip2p make-dataset --world`), loads in a moment and needs no network. For experiments, tests and
 * servers' health checks; {@link builtInPhotoModel} edits photos.
 *
 * @example
 * ```js
 * import { builtInModel, InstructPix2PixPipeline } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained(builtInModel);
 * console.log(pipe.unet.config.in_channels);
 * pipe.dispose();
 * ```
 */
export const builtInModel: string = folderOf("tiny");

/**
 * The folder of the small model included in this package that edits photographs, for `fromPretrained`: light, colours, weather,
 * manner and frames, in the wordings of `ip2p make-dataset --photos`. It was trained on crops of 64 to 128 pixels, edits images
 * of up to 256 well, and needs no network. Edit with a `guidanceScale` of about 2.
 *
 * @example
 * ```js
 * import { builtInPhotoModel, InstructPix2PixPipeline, RgbImage } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained(builtInPhotoModel);
 * const image = new RgbImage(64, 64, new Uint8Array(3 * 64 * 64).fill(150));
 * const { images } = await pipe.run({ image, prompt: "make it night", numInferenceSteps: 20, guidanceScale: 2, seed: 0 });
 * console.log(images[0].width);
 * pipe.dispose();
 * ```
 */
export const builtInPhotoModel: string = folderOf("photo");

/** What a built-in model edits: the drawn world of shapes, or photographs. */
export type BuiltInKind = "world" | "photos";

/** The models' folders by what they edit; the first is for most images. */
export const BUILT_IN_MODELS: Readonly<Record<BuiltInKind, string>> = {
  photos: builtInPhotoModel,
  world: builtInModel,
};

/** What the built-in model of this folder edits; undefined for any other model. */
export function builtInKind(folder: string): BuiltInKind | undefined {
  return (Object.keys(BUILT_IN_MODELS) as BuiltInKind[]).find((kind) => BUILT_IN_MODELS[kind] === folder);
}

/** The guidance that suits them, as it was measured, in options of a pipeline's `run()`. */
export const BUILT_IN_GUIDANCE = { guidanceScale: 2, imageGuidanceScale: 1.5 } as const;

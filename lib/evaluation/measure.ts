import type { RgbImage } from "../images/index.js";
import type { Clip } from "./clip.js";
import { type Planes, planesOf } from "./planes.js";
import type { EditMetrics } from "./points.js";
import { cosine, difference, distances } from "./similarity.js";

/** How edits are measured. */
export interface Measure {
  clip: Clip;
  asOriginal: boolean;
  signal?: AbortSignal | undefined;
}

/** CLIP's features of what does not depend on the edit. */
export interface PairFeatures {
  original: Float32Array;
  before: Float32Array;
  after: Float32Array;
  target: Float32Array;
}

/**
 * @param original as it is edited
 * @param target the true edit
 */
export async function featuresOf(
  { original, target, captions }: { original: RgbImage; target: RgbImage; captions: readonly [string, string] },
  { clip, asOriginal, signal }: Measure,
): Promise<PairFeatures> {
  return {
    original: await clip.sampledFeatures(planesOf(original), asOriginal, signal),
    before: await clip.textFeatures(captions[0], signal),
    after: await clip.textFeatures(captions[1], signal),
    target: await clip.imageFeatures(target, signal),
  };
}

/** Measures the result of an edit. */
export async function measureEdit(
  { planes, picture }: { planes: Planes; picture: RgbImage },
  { target, known }: { target: RgbImage; known: PairFeatures },
  { clip, asOriginal, signal }: Measure,
): Promise<EditMetrics> {
  const sampled = await clip.sampledFeatures(planes, asOriginal, signal);
  const features = await clip.imageFeatures(picture, signal);
  return {
    sim_0: cosine(known.original, known.before),
    sim_1: cosine(sampled, known.after),
    sim_direction: cosine(difference(sampled, known.original), difference(known.after, known.before)),
    sim_image: cosine(known.original, sampled),
    ...distances(await picture.resize(target.width, target.height, "bicubic"), target),
    clip_i: cosine(features, known.target),
    clip_t: cosine(features, known.after),
    clip_t_target: cosine(known.target, known.after),
  };
}

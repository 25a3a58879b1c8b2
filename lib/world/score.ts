import { InstructPix2PixError } from "../core/errors.js";
import type { RgbPixels } from "../images/pixels.js";
import { drawPixels } from "./draw.js";
import { type Edit, otherEdits } from "./edit.js";
import type { Random } from "./random.js";
import { EXTENT, type Scene } from "./scene.js";

/** Number of other edits that a result is compared with. */
export const RIVALS = 15;
const MIDDLE_GREY = 128;

/** The comparison of an edited image with its target. */
export interface EditScore {
  /** Whether it is nearer to the target than to the original, to each of the rivals, and to plain middle grey. */
  success: boolean;
  /** Mean squared error to the target, over all pixels and their three channels in 0..1. */
  error: number;
  /** Mean absolute error over the pixels that the edit does not change, in 0..1; undefined if it changes all. */
  outside: number | undefined;
  /** How many pixels the edit does not change: those of equal 8-bit colours in the original and in the target. */
  unchanged: number;
}

/** A summary of scores. */
export interface ScoreSummary {
  /** The share of successes, 0..1; 0 of none. */
  success: number;
  count: number;
  /** The mean of `outside` over the unchanged pixels of all the images together; null if there are none. */
  outside: number | null;
}

/** Compares a result with its target and with what it must be farther from. */
export class NearestJudge {
  readonly #target: Uint8Array;
  readonly #others: readonly Uint8Array[];

  /**
   * @param target its pixels
   * @param others those of the original and of other edits; plain middle grey is compared too, to which noise is always nearer,
   *   though it may be nearest to the target by chance
   */
  constructor(target: Uint8Array, others: readonly Uint8Array[]) {
    this.#target = target;
    this.#others = [...others, new Uint8Array(target.length).fill(MIDDLE_GREY)];
  }

  /** Whether the pixels are nearest to the target, and their mean squared error to it. */
  compare(data: Uint8Array): Pick<EditScore, "success" | "error"> {
    const error = squaredError(data, this.#target);
    return { success: this.#others.every((other) => error < squaredError(data, other)), error };
  }
}

/**
 * Scores results of an edit of a scene. A result succeeds if its mean squared error to the target is smaller than to
 * the original and to each of 15 rivals: other edits of the same scene. (A scene of inverted colours has no others; its
 * rivals are edits of the target.)
 *
 * An unchanged original never succeeds, nor does noise: see {@link NearestJudge}.
 */
export class EditJudge {
  readonly #original: Uint8Array;
  readonly #target: Uint8Array;
  readonly #judge: NearestJudge;

  /**
   * @param random chooses the rivals
   * @param size of the images to judge in pixels, default 64
   * @throws `ERR_INVALID_ARGUMENT` if the scene has not enough edits
   */
  constructor(
    scene: Scene,
    edit: Edit,
    random: Random,
    readonly size = EXTENT,
  ) {
    const rivals =
      scene.style === "none"
        ? otherEdits(scene, random, RIVALS, edit)
        : otherEdits(edit.target, random, RIVALS, { ...edit, target: scene });
    this.#original = drawPixels(scene, size);
    this.#target = drawPixels(edit.target, size);
    const others = rivals.map(({ target }) => drawPixels(target, size));
    this.#judge = new NearestJudge(this.#target, [this.#original, ...others]);
  }

  /** @throws `ERR_INVALID_ARGUMENT` for an image of another size */
  score({ width, height, data }: RgbPixels): EditScore {
    if (width !== this.size || height !== this.size)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `the image must be ${this.size}×${this.size}, not ${width}×${height}`,
      );
    return { ...this.#judge.compare(data), ...this.#outside(data) };
  }

  #outside(data: Uint8Array): Pick<EditScore, "outside" | "unchanged"> {
    const [original, target] = [this.#original, this.#target];
    let [sum, unchanged] = [0, 0];
    for (let i = 0; i < data.length; i += 3) {
      if (original[i] !== target[i] || original[i + 1] !== target[i + 1] || original[i + 2] !== target[i + 2]) continue;
      for (let channel = i; channel < i + 3; channel++) sum += Math.abs(data[channel]! - target[channel]!);
      unchanged++;
    }
    return { outside: unchanged === 0 ? undefined : sum / (3 * 255 * unchanged), unchanged };
  }
}

/** Mean squared difference of 8-bit values, as of values in 0..1. */
export function squaredError(a: Uint8Array, b: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum / (255 ** 2 * a.length);
}

export function summariseScores(scores: readonly EditScore[]): ScoreSummary {
  let [successes, error, unchanged] = [0, 0, 0];
  for (const score of scores) {
    if (score.success) successes++;
    error += (score.outside ?? 0) * score.unchanged;
    unchanged += score.unchanged;
  }
  return {
    success: scores.length === 0 ? 0 : successes / scores.length,
    count: scores.length,
    outside: unchanged === 0 ? null : error / unchanged,
  };
}

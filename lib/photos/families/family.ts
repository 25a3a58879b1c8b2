import type { Random } from "../../world/random.js";
import type { Photo } from "../pixels.js";
import type { Degree } from "../wording.js";

/**
 * In what order edits of a combination are applied, whatever order an instruction names them in: colours of places first, while
 * they can be told; frames last. Two edits of one kind are not combined.
 */
export const KINDS = ["place", "colour", "light", "detail", "time", "weather", "style", "border"] as const;
export type Kind = (typeof KINDS)[number];

/** The words of an edit's variant, such as its colour. */
export type Words = Readonly<Record<string, string>>;

/** A family of edits whose results can be computed from any photograph. */
export interface Family {
  readonly kind: Kind;
  /** Whether colours can no longer be told from the result, so that no edit of colours is combined with it. */
  readonly colourless?: boolean;
  /** The wordings: see `wordEdit`. */
  readonly phrases: readonly string[];
  /** What a caption says of the result behind "a photograph, ". */
  readonly caption: string;
  /** Draws a variant; undefined if the photograph allows none. Without it there is one, of no words. */
  readonly variant?: (photo: Photo, random: Random) => Words | undefined;
  /** All words that variants hold. */
  readonly variantWords?: readonly string[];
  /** Whether it has degrees; default true. */
  readonly degrees?: boolean;
  /** The result: always the same for the same photograph, and alike for the same photograph in another size. */
  readonly apply: (photo: Photo, degree: Degree, words: Words) => Photo;
}

/** Declares families, keeping their names. */
export const families = <const N extends string>(list: Record<N, Family>): Record<N, Family> => list;

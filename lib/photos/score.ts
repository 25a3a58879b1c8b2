import { datasetError } from "../data/errors.js";
import type { RgbImage } from "../images/index.js";
import { OTHER_STREAMS, Random } from "../world/random.js";
import { NearestJudge, RIVALS } from "../world/score.js";
import type { Album } from "./album.js";
import { applyEdit, differVisibly, type PhotoEdit, randomPhotoEdit } from "./edit.js";
import { photoExample } from "./example.js";
import { PHOTO_FAMILIES, type PhotoFamily } from "./families/index.js";
import { imageOf, type Photo, photoOf } from "./pixels.js";

/** Less error than 8 bits can tell, so that an exact result has a PSNR, of 100 dB. */
const LEAST_ERROR = 1e-10;
/** Random edits that are looked at for rivals; some are not possible, or look like another. */
const MOST_TRIED = 400;

/** How near a result came. */
export type PhotoScore = ReturnType<NearestJudge["compare"]>;

/** An edit of a photograph, ready to be made and judged, as `scoreEdits` takes it. */
export interface JudgedPhoto {
  index: number;
  family: PhotoFamily;
  instruction: string;
  original: RgbImage;
  target: RgbImage;
  /** The pixels of 15 other edits of the same crop, each visibly different from the original and from the target. */
  rivals: readonly Uint8Array[];
  judge: { score(picture: RgbImage): PhotoScore };
  /** The seed of the noise that its edit starts from. */
  noiseSeed: number;
}

/** The first examples of a seed. Throws as {@link judgedPhoto}. */
export async function* judgedPhotos(album: Album, seed: number, count: number): AsyncGenerator<JudgedPhoto> {
  for (let index = 0; index < count; index++) yield await judgedPhoto(album, seed, index);
}

/**
 * Example `index` of a seed with what its result is compared with.
 *
 * @throws `ERR_DATASET` for a crop that allows too few other edits, and as {@link photoExample}
 */
export async function judgedPhoto(album: Album, seed: number, index: number): Promise<JudgedPhoto> {
  const { before, after, edit } = await photoExample(album, seed, index);
  const random = new Random(seed, OTHER_STREAMS + index);
  const noiseSeed = random.int(2 ** 32);
  const rivals = rivalsOf(photoOf(before), photoOf(after), edit, random);
  const judge = new NearestJudge(after.data, [before.data, ...rivals]);
  const { family, instruction } = edit;
  return {
    ...{ index, family, instruction, original: before, target: after, rivals, noiseSeed },
    judge: { score: ({ data }) => judge.compare(data) },
  };
}

function rivalsOf(before: Photo, after: Photo, edit: PhotoEdit, random: Random): Uint8Array[] {
  const done = deedOf(edit);
  const rivals: Uint8Array[] = [];
  for (let tried = 0; tried < MOST_TRIED && rivals.length < RIVALS; tried++) {
    const other = randomPhotoEdit(before, random, random.pick(PHOTO_FAMILIES));
    if (!other || deedOf(other) === done) continue;
    const edited = applyEdit(before, other);
    if (differVisibly(edited, after) && differVisibly(edited, before)) rivals.push(imageOf(edited).data);
  }
  if (rivals.length < RIVALS)
    throw datasetError(
      `a crop allows only ${rivals.length} edits that differ from "${edit.instruction}", not ${RIVALS}`,
    );
  return rivals;
}

/** What an edit does, whatever its degree. */
function deedOf({ steps }: PhotoEdit): string {
  return JSON.stringify(steps.map(({ family, words }) => [family, words]));
}

/** Peak signal to noise of a mean squared error, in decibels. */
export const decibels = (error: number): number => -10 * Math.log10(Math.max(error, LEAST_ERROR));

/** An edit that was made: its family, its score, and the error of its target through the autoencoder alone. */
export interface PhotoOutcome extends PhotoScore {
  family: PhotoFamily;
  bound: number;
}

/** A summary of several edits. */
export interface PhotoSummary {
  /** The share of successes, 0..1. */
  success: number;
  count: number;
  /** Mean PSNR of the results to their targets, in decibels. */
  psnr: number;
  /** The same of the targets through the autoencoder. */
  bound: number;
}

/** The summary of all, and of each family that occurs. */
export function summarisePhotos(
  outcomes: readonly PhotoOutcome[],
): PhotoSummary & { families: Partial<Record<PhotoFamily, PhotoSummary>> } {
  const occurring = PHOTO_FAMILIES.map(
    (family) => [family, outcomes.filter((each) => each.family === family)] as const,
  ).filter(([, some]) => some.length > 0);
  return {
    ...summaryOf(outcomes),
    families: Object.fromEntries(occurring.map(([family, some]) => [family, summaryOf(some)])),
  };
}

function summaryOf(outcomes: readonly PhotoOutcome[]): PhotoSummary {
  const mean = (of: (outcome: PhotoOutcome) => number) =>
    outcomes.reduce((sum, outcome) => sum + of(outcome), 0) / outcomes.length;
  return {
    success: mean(({ success }) => Number(success)),
    count: outcomes.length,
    psnr: mean(({ error }) => decibels(error)),
    bound: mean(({ bound }) => decibels(bound)),
  };
}

/** The summary as a table for people. */
export function photoTable({ families, ...overall }: ReturnType<typeof summarisePhotos>): string {
  const row = (name: string, { success, count, psnr, bound }: PhotoSummary) =>
    [
      name.padEnd(22),
      `${(100 * success).toFixed(1)} %`.padStart(8),
      String(count).padStart(7),
      `${psnr.toFixed(1)} dB`.padStart(9),
      `${bound.toFixed(1)} dB`.padStart(9),
    ].join("");
  const lines = Object.entries(families).map(([family, summary]) => row(family, summary));
  const head = "family                 success  count     PSNR    bound";
  const rule = "─".repeat(head.length);
  return [head, rule, ...lines, rule, row("all", overall)].join("\n");
}

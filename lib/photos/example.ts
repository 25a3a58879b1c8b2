import { datasetError } from "../data/errors.js";
import type { RgbImage } from "../images/index.js";
import { Random } from "../world/random.js";
import type { Album } from "./album.js";
import { cutOut, randomCrop } from "./crop.js";
import { applyEdit, differVisibly, type PhotoEdit, randomPhotoEdit } from "./edit.js";
import { PHOTO_FAMILIES, type PhotoFamily } from "./families/index.js";
import { imageOf, photoOf } from "./pixels.js";

/** Crops in which a family is tried before the next one has its turn. */
const ATTEMPTS = 24;

/** A pair of images with its instruction. */
export interface PhotoExample {
  /** The name of the photograph. */
  photo: string;
  edit: PhotoEdit;
  before: RgbImage;
  after: RgbImage;
}

/**
 * Example number `index` of the endless data set of a seed and an album: a crop and an edit of it that is visible. Families take
 * turns; one that finds no place in 24 crops, such as edits of the sky among photographs of rooms, leaves its turn to the next.
 *
 * @param seed a whole number in 0..2⁵³−1
 * @param index a whole number in 0..2⁵³−1
 * @throws `ERR_DATASET` if no family finds a place
 */
export async function photoExample(
  album: Album,
  seed: number,
  index: number,
  families: readonly PhotoFamily[] = PHOTO_FAMILIES,
): Promise<PhotoExample> {
  const random = new Random(seed, index);
  for (let turn = 0; turn < families.length; turn++) {
    const family = families[(index + turn) % families.length]!;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const source = random.pick(album.photos);
      const image = await album.load(source);
      const before = await cutOut(image, randomCrop(image, album.resolution, random), album.resolution);
      const photo = photoOf(before);
      const edit = randomPhotoEdit(photo, random, family);
      if (!edit) continue;
      const edited = applyEdit(photo, edit);
      if (differVisibly(photo, edited)) return { photo: source.name, edit, before, after: imageOf(edited) };
    }
  }
  throw datasetError(`these photographs allow no edits of ${families.join(", ")}: none was found in ${ATTEMPTS} crops`);
}

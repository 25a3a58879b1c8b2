// Measures how much of an edit `transferEdit` (`ip2p edit --keep_resolution`) carries over to a larger image:
//
//   node scripts/photo/transfer.mjs --photos DIR [--count 8] [--resolution 128] [--times 4] [--noise 0]
//
// Every family of edits is applied to crops of photographs at --times the resolution, which is the truth, and to the crops reduced
// to --resolution, with random errors of a deviation of --noise (of 1), as a model makes them. Prints the PSNR to the truth of the
// unedited crop, of the reduced edit enlarged, and of the reduced edit carried over.

import { parseArgs } from "node:util";
import { RgbImage, transferEdit } from "../../dist/index.js";
import { cutOut } from "../../dist/photos/crop.js";
import { applyEdit, randomPhotoEdit } from "../../dist/photos/edit.js";
import { SINGLE_FAMILIES } from "../../dist/photos/families/index.js";
import { Album, findPhotos } from "../../dist/photos/index.js";
import { imageOf, photoOf } from "../../dist/photos/pixels.js";
import { decibels } from "../../dist/photos/score.js";
import { Random } from "../../dist/world/random.js";
import { squaredError } from "../../dist/world/score.js";

const { values } = parseArgs({
  options: {
    photos: { type: "string" },
    count: { type: "string", default: "8" },
    resolution: { type: "string", default: "128" },
    times: { type: "string", default: "4" },
    noise: { type: "string", default: "0" },
  },
});
if (values.photos === undefined) throw new Error("--photos is missing");
const [count, resolution, times, noise] = ["count", "resolution", "times", "noise"].map((name) => Number(values[name]));
const full = resolution * times;

/** Uniform errors of the deviation. */
function disturbed({ width, height, data }, random) {
  const range = 255 * noise * Math.sqrt(12);
  const changed = Uint8ClampedArray.from(data, (value) => value + range * (random.float() - 0.5));
  return new RgbImage(width, height, new Uint8Array(changed.buffer));
}

const { usable } = await findPhotos(values.photos, full);
const album = new Album(values.photos, usable, full);
const rows = new Map();
for (const [i, source] of usable.slice(0, count).entries()) {
  const random = new Random(1, i);
  const image = await album.load(source);
  const side = Math.min(image.width, image.height);
  const crop = await cutOut(image, { left: 0, top: 0, side, mirrored: false }, full);
  const reduced = await crop.resize(resolution, resolution);
  for (const family of SINGLE_FAMILIES) {
    const edit = randomPhotoEdit(photoOf(reduced), random, family);
    if (!edit) continue;
    const truth = imageOf(applyEdit(photoOf(crop), edit));
    const edited = disturbed(imageOf(applyEdit(photoOf(reduced), edit)), random);
    const results = [crop, await edited.resize(full, full, "bicubic"), await transferEdit(crop, edited)];
    const row = rows.get(family) ?? [];
    rows.set(family, [...row, results.map(({ data }) => decibels(squaredError(data, truth.data)))]);
  }
}

const mean = (numbers) => numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
const columns = (each) => each[0].map((_, k) => mean(each.map((row) => row[k])));
const line = (name, numbers) =>
  name.padEnd(20) + numbers.map((value) => `${value.toFixed(1)} dB`.padStart(11)).join("");
console.log(`${"family".padEnd(20)}   unedited   enlarged    carried`);
const means = [...rows].map(([family, each]) => [family, columns(each)]);
for (const [family, numbers] of means) console.log(line(family, numbers));
console.log(line("all", columns(means.map(([, numbers]) => numbers))));

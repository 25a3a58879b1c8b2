import { describe, expect, test } from "vitest";
import { belongsTo, toHsv } from "../../lib/photos/colour.js";
import { applyEdit, canCombine, differVisibly, type EditStep, randomPhotoEdit } from "../../lib/photos/edit.js";
import { FAMILIES, PHOTO_FAMILIES, SINGLE_FAMILIES, type SingleFamily } from "../../lib/photos/families/index.js";
import { skyOf } from "../../lib/photos/filters/sky.js";
import { imageOf, luma, lumaOf, meanOf, type Photo, photoOf } from "../../lib/photos/pixels.js";
import { DEGREES, type Degree, phrasesFor, wordEdit } from "../../lib/photos/wording.js";
import { PHOTO_WORDS } from "../../lib/photos/words.js";
import { Random } from "../../lib/world/random.js";
import { difference, landscape, shrink } from "./scene.js";

const photo = landscape(96);

/** A variant of a family that the landscape allows. */
function stepOf(family: SingleFamily, degree: Degree = "plain", of: Photo = photo): EditStep {
  const { variant } = FAMILIES[family];
  return { family, degree, words: variant ? variant(of, new Random(1))! : {} };
}

const edit = (family: SingleFamily, degree?: Degree, of: Photo = photo): Photo =>
  applyEdit(of, { steps: [stepOf(family, degree, of)] });

const brightness = (of: Photo): number => meanOf(lumaOf(of).data);

/** The mean distance of the channels from the luma. */
function colourfulness({ data }: Photo): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 3) {
    const y = luma(data[i]!, data[i + 1]!, data[i + 2]!);
    sum += Math.abs(data[i]! - y) + Math.abs(data[i + 1]! - y) + Math.abs(data[i + 2]! - y);
  }
  return sum / data.length;
}

function deviation(of: Photo): number {
  const { data } = lumaOf(of);
  const mean = meanOf(data);
  return Math.sqrt(meanOf(data.map((y) => (y - mean) ** 2)));
}

/** The mean absolute step of the luma to the right. */
function detail(of: Photo): number {
  const { data, width } = lumaOf(of);
  return meanOf(data.map((y, i) => ((i + 1) % width === 0 ? 0 : Math.abs(data[i + 1]! - y))));
}

const blueness = ({ data }: Photo): number => {
  let sum = 0;
  for (let i = 0; i < data.length; i += 3) sum += data[i + 2]! - data[i]!;
  return sum / data.length;
};

describe.each(SINGLE_FAMILIES)("%s", (family) => {
  const { degrees = true, phrases } = FAMILIES[family];

  test("changes the image, by the same pixels each time, and leaves the original alone", () => {
    const before = { ...photo, data: photo.data.slice() };
    for (const degree of degrees ? DEGREES : (["plain"] as const)) {
      const after = edit(family, degree);
      expect(after).toMatchObject({ width: 96, height: 96 });
      expect(difference(after, edit(family, degree))).toBe(0);
      expect(after.data.every((value) => value >= 0 && value <= 1)).toBe(true);
      if (degree === "plain") expect(differVisibly(photo, after)).toBe(true);
    }
    expect(difference(photo, before)).toBe(0);
  });

  test("has at least six wordings, and where it has degrees, two for each", () => {
    expect(new Set(phrases).size).toBeGreaterThanOrEqual(6);
    if (degrees)
      for (const degree of ["slight", "strong"] as const)
        expect(phrasesFor(phrases, degree).length, degree).toBeGreaterThanOrEqual(2);
  });

  test("is worded with one article each", () => {
    const { words } = stepOf(family);
    const random = new Random(2);
    for (const degree of degrees ? DEGREES : (["plain"] as const))
      for (let i = 0; i < 100; i++)
        expect(wordEdit(phrases, degree, words, random)).not.toMatch(/\ban? an?\b|\ba [aeiou]|[{}]/);
  });

  test("looks the same in another size", () => {
    const large = landscape(256);
    const step = stepOf(family);
    const [edited, small] = [applyEdit(large, { steps: [step] }), applyEdit(shrink(large, 2), { steps: [step] })];
    const changed = difference(shrink(large, 2), small);
    const apart = difference(shrink(edited, 2), small);
    expect(apart).toBeLessThan(Math.max(2, 0.3 * changed));
  });
});

describe("the result is known:", () => {
  test("black and white is Rec. 601's luma in all channels", () => {
    const { data } = edit("black_and_white");
    let apart = 0;
    for (let i = 0; i < data.length; i += 3) {
      const y = luma(photo.data[i]!, photo.data[i + 1]!, photo.data[i + 2]!);
      apart = Math.max(apart, ...[0, 1, 2].map((c) => Math.abs(data[i + c]! - y)));
    }
    expect(apart).toBeLessThan(1e-6);
    expect(imageOf(edit("black_and_white")).data.subarray(0, 3)).toEqual(
      new Uint8Array(3).fill(Math.round(255 * luma(photo.data[0]!, photo.data[1]!, photo.data[2]!))),
    );
  });

  test("a negative of a negative is the image itself", () => {
    expect(imageOf(edit("negative", "plain", edit("negative"))).equals(imageOf(photo))).toBe(true);
    expect(edit("negative").data[5]).toBeCloseTo(1 - photo.data[5]!, 6);
  });

  test.each<[SingleFamily, (of: Photo) => number, 1 | -1]>([
    ["brighter", brightness, 1],
    ["darker", brightness, -1],
    ["more_contrast", deviation, 1],
    ["less_contrast", deviation, -1],
    ["more_saturation", colourfulness, 1],
    ["less_saturation", colourfulness, -1],
    ["warmer", blueness, -1],
    ["cooler", blueness, 1],
    ["blur", detail, -1],
    ["sharpen", detail, 1],
    ["pixelate", detail, -1],
    ["fog", deviation, -1],
    ["vignette", brightness, -1],
    ["snow", detail, 1],
    ["darker_sky", brightness, -1],
  ])("%s goes further with the degree", (family, measure, sign) => {
    const values = [measure(photo), ...DEGREES.map((degree) => measure(edit(family, degree)))];
    for (const [i, value] of values.slice(1).entries()) {
      const before = family === "snow" && i === 0 ? Number.NEGATIVE_INFINITY : sign * values[i]!;
      expect(sign * value).toBeGreaterThan(before);
    }
  });

  test("a colour of light leaves white as bright as it was, and grey no longer grey", () => {
    const white: Photo = { width: 1, height: 1, data: Float32Array.of(0.5, 0.5, 0.5) };
    const [r, g, b] = edit("warmer", "strong", white).data;
    expect(r).toBeGreaterThan(0.5);
    expect(b).toBeLessThan(0.4);
    const light = (v: number) => ((v + 0.055) / 1.055) ** 2.4;
    expect(0.2126 * light(r!) + 0.7152 * light(g!) + 0.0722 * light(b!)).toBeCloseTo(light(0.5), 4);
  });

  test("a poster has as many levels as its degree says", () => {
    for (const [degree, levels] of [
      ["slight", 6],
      ["plain", 4],
      ["strong", 3],
    ] as const)
      expect(new Set(imageOf(edit("posterize", degree)).data).size).toBeLessThanOrEqual(levels);
  });

  test("recolouring gives what has the colour the new hue, and leaves all else alone", () => {
    const after = applyEdit(photo, {
      steps: [{ family: "recolour", degree: "plain", words: { from: "red", to: "blue" } }],
    });
    let red = 0;
    for (let i = 0; i < photo.data.length; i += 3) {
      const [hue, saturation, value] = toHsv(photo.data[i]!, photo.data[i + 1]!, photo.data[i + 2]!);
      const share = belongsTo("red", hue, saturation, value);
      const now = after.data.subarray(i, i + 3);
      if (share === 0) expect(now).toEqual(photo.data.subarray(i, i + 3));
      if (share < 1) continue;
      red++;
      expect(belongsTo("blue", ...toHsv(now[0]!, now[1]!, now[2]!))).toBeGreaterThan(0.9);
      expect(toHsv(now[0]!, now[1]!, now[2]!)[2]).toBeCloseTo(value, 5);
    }
    expect(red / (96 * 96)).toBeGreaterThan(0.06);
  });

  test("edits of a colour or the sky need it", () => {
    const grey: Photo = { ...photo, data: new Float32Array(photo.data.length).fill(0.3) };
    for (const family of ["recolour", "colour_pop", "autumn", "darker_sky", "redder_sky"] as const) {
      expect(randomPhotoEdit(grey, new Random(0), family), family).toBeUndefined();
      expect(randomPhotoEdit(photo, new Random(0), family)?.family).toBe(family);
    }
  });

  test("the sky is where it is, and only there an edit of it shows", () => {
    const sky = skyOf(photo).data;
    expect(sky[10 * 96 + 48]).toBeGreaterThan(0.95);
    expect(sky[80 * 96 + 48]).toBe(0);
    const after = edit("redder_sky", "strong");
    expect(after.data.subarray(3 * 80 * 96)).toEqual(photo.data.subarray(3 * 80 * 96));
    expect(after.data[3 * 480]!).toBeGreaterThan(after.data[3 * 480 + 2]!);
  });

  test("a frame has its colour at the border, and the image within", () => {
    const after = applyEdit(photo, { steps: [{ family: "frame", degree: "plain", words: { colour: "black" } }] });
    expect(after.data[0]).toBeCloseTo(0.04, 5);
    const middle = 3 * (48 * 96 + 48);
    expect(after.data.subarray(middle, middle + 30)).toEqual(photo.data.subarray(middle, middle + 30));
  });
});

describe("a random edit", () => {
  const edits = PHOTO_FAMILIES.flatMap((family) =>
    Array.from({ length: 12 }, (_, seed) => randomPhotoEdit(photo, new Random(seed), family)!),
  );

  test("is the same for the same seed, and other for others", () => {
    for (const family of PHOTO_FAMILIES)
      expect(randomPhotoEdit(photo, new Random(7), family)).toEqual(randomPhotoEdit(photo, new Random(7), family));
    expect(new Set(edits.map(({ instruction }) => instruction)).size).toBeGreaterThan(0.6 * edits.length);
  });

  test("speaks in words of the list, without a place left open", () => {
    const words = new Set(PHOTO_WORDS);
    for (const { instruction, caption } of edits) {
      for (const word of instruction.split(" ")) expect(words, instruction).toContain(word);
      for (const word of caption.split(/,? /)) expect(words, caption).toContain(word);
      expect(instruction).toMatch(/^[a-z ]+$/);
    }
  });

  test("can be two, in the order in which they make sense", () => {
    for (const { family, steps } of edits) {
      expect(steps).toHaveLength(family === "combination" ? 2 : 1);
      if (family === "combination") expect(canCombine(steps[0]!.family, steps[1]!.family)).toBe(true);
    }
    expect(canCombine("black_and_white", "recolour")).toBe(false);
    expect(canCombine("black_and_white", "frame")).toBe(true);
    expect(canCombine("night", "snow")).toBe(true);
  });
});

test("pixels come back as they were", () => {
  const image = imageOf(photo);
  expect(imageOf(photoOf(image)).equals(image)).toBe(true);
});

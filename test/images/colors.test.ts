import { describe, it } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import { type TiffTag, tiff, tiffTags } from "./bombs.js";
import { expectError } from "./fixtures.js";

const changed = (tags: TiffTag[], ...changes: TiffTag[]) => [
  ...tags.filter(([tag]) => !changes.some(([other]) => other === tag)),
  ...changes,
];
const ycbcr = tiffTags(4, 3, 6);

describe("a TIFF with unsupported colours is refused, and the colours are named", () => {
  it.each<[string, TiffTag[], RegExp]>([
    ["a transparency mask", tiffTags(4, 1, 4), /transparency mask/],
    ["CIE L*a*b*", tiffTags(4, 3, 8), /CIE L\*a\*b\*/],
    ["ICC L*a*b*", tiffTags(4, 3, 9), /ICC L\*a\*b\*/],
    ["ITU L*a*b*", tiffTags(4, 3, 10), /ITU L\*a\*b\*/],
    ["a colour filter array", tiffTags(4, 1, 32803), /sensor data/],
    ["LogL", tiffTags(4, 1, 32844, 16), /logarithmic luminance/],
    ["LogLuv", tiffTags(4, 3, 32845, 16), /LogLuv/],
    ["linear sensor data", tiffTags(4, 3, 34892), /sensor data/],
    ["an unknown kind", tiffTags(4, 1, 77), /unknown kind \(77\)/],
    ["other inks", [...tiffTags(4, 4, 5), [332, 3, [2]]], /not CMYK/],
    ["three inks", tiffTags(4, 3, 5), /not CMYK/],
    ["an ink's alpha", [...tiffTags(4, 5, 5), [338, 3, [1]]], /alpha/],
    ["a grey multiplied by alpha", [...tiffTags(4, 2, 1), [338, 3, [1]]], /alpha/],
    ["no palette", tiffTags(4, 1, 3), /palette of 0 values for 8 bits/],
    ["a short palette", [...tiffTags(4, 1, 3), [320, 3, Array<number>(48).fill(0)]], /palette of 48 values/],
    ["12 bits", tiffTags(4, 1, 1, 12), /12 bits per sample/],
    ["32 bits", tiffTags(4, 1, 1, 32), /32 bits per sample/],
    ["different bits", changed(tiffTags(4, 3, 2), [258, 3, [5, 6, 5]]), /samples of 5, 6, 5 bits/],
    ["signed samples", [...tiffTags(4, 1, 1), [339, 3, [2]]], /samples of type char/],
    ["other indexed colours", [...tiffTags(4, 1, 1), [346, 3, [1]]], /indexed/],
    ["YCbCr in planes", [...ycbcr, [530, 3, [1, 1]], [284, 3, [2]]], /YCbCr.*uncommon/],
    ["YCbCr of 16 bits", [...tiffTags(4, 3, 6, 16), [530, 3, [1, 1]]], /YCbCr.*uncommon/],
    ["YCbCr with differences", [...ycbcr, [530, 3, [1, 1]], [317, 3, [2]]], /YCbCr.*uncommon/],
    ["YCbCr with alpha", [...tiffTags(4, 4, 6), [530, 3, [1, 1]], [338, 3, [2]]], /YCbCr.*uncommon/],
    ["YCbCr in blocks of three", [...ycbcr, [530, 3, [3, 1]]], /YCbCr.*uncommon/],
    [
      "YCbCr cut within a block",
      changed([...ycbcr, [530, 3, [2, 2]]], [257, 4, [9]], [278, 4, [3]]),
      /cross its strips/,
    ],
  ])("%s", async (_, tags, message) => {
    await expectError(loadImage(tiff(tags)), "ERR_IMAGE", message);
  });
});

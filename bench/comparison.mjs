import * as edit from "./cases/edit.mjs";
import * as editXL from "./cases/edit-xl.mjs";
import * as img2img from "./cases/img2img.mjs";
import * as kandinsky from "./cases/kandinsky.mjs";
import * as kandinskyPrior from "./cases/kandinsky-prior.mjs";
import * as parts from "./cases/parts.mjs";
import * as training from "./cases/training.mjs";
import * as upscaleX4 from "./cases/upscale-x4.mjs";
import { median } from "./stats.mjs";

/** The name of this package's side. */
export const OURS = "instruct-pix2pix";

const titleOf = ({ name, settings: { dtype, quantization = "none", size } }) =>
  [name, dtype, ...(quantization === "none" ? [] : [quantization]), `${size}×${size}`].join(", ");

/** What bench.mjs can measure. A case takes started sides and settings, and returns results by side. */
export const CASES = {
  ...{ edit, "edit-xl": editXL, parts, img2img, "upscale-x4": upscaleX4 },
  ...{ kandinsky, "kandinsky-prior": kandinskyPrior },
};

/** Cases whose models need most of the memory of a machine of 24 GB, so that they are measured only if asked for. */
export const LARGE = ["edit-xl", "kandinsky", "kandinsky-prior"];

/**
 * The contents of a record of bench.mjs or train.mjs, case by case: a title, and rows with each side's number and how this
 * package compares with the best of the others (above 1: better; undefined where there is none).
 *
 * Each case declares what it measures as rows of { label, unit, digits } with either `pick`, one number of a side's
 * results, or `turns`, the times of alternating turns, of which the medians are shown.
 */
export function comparisons(record) {
  return record.cases.map((one) => {
    const { title = titleOf, rows } = one.variant ? training : CASES[one.name];
    const { [OURS]: ours, ...peers } = one.results;
    const others = Object.values(peers);
    return {
      title: title(one),
      case: one,
      rows: rows(one.settings, ours).map(({ label, unit, digits, pick, turns }) => {
        const value = pick ?? ((result) => median(turns(result)));
        // Compares turn by turn: the medians of the two sides may come from moments of different load.
        const against = (other) =>
          turns ? median(turns(other).map((seconds, i) => seconds / turns(ours)[i])) : value(other) / value(ours);
        const ratios = others.map(against).filter(Number.isFinite);
        return {
          label,
          values: Object.entries({ [OURS]: ours, ...peers }).map(([side, result]) => ({
            side,
            text: `${value(result).toFixed(digits)} ${unit}`,
          })),
          ratio: ratios.length > 0 ? Math.min(...ratios) : undefined,
        };
      }),
    };
  });
}

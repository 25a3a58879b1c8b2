import { checkList, describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { listOfThisRealm } from "../core/realm.js";
import type { NativeAdapterWeights } from "../runtime/contract/index.js";

/** How much an adapter that is not part of a model's weights counts in a pass. */
export interface AdapterWeights {
  /** Its name, as `loadLoraWeights` returns it. */
  name: string;
  /** One number for all rows of the result, or one for each; 0 leaves a row as it is without the adapter. */
  rows: number | readonly number[];
}

const NAMES = optionNames<AdapterWeights>()({ name: true, rows: true });

/** As the addon takes them. @throws `ERR_INVALID_ARGUMENT` */
export function adapterWeights(given: readonly AdapterWeights[] | undefined): NativeAdapterWeights[] {
  if (given === undefined) return [];
  const list = checkList(given, "adapters").map((each) => {
    const { name, rows } = checkOptions<AdapterWeights>(each, NAMES);
    if (typeof name !== "string") throw invalid(`the name of an adapter must be a text, not ${describe(name)}`);
    const numbers = typeof rows === "number" ? [rows] : listOfThisRealm(checkList(rows as readonly number[], "rows"));
    for (const number of numbers)
      if (!Number.isFinite(number)) throw invalid(`rows must be numbers, not ${describe(number)}`);
    return { name, rows: numbers };
  });
  if (new Set(list.map(({ name }) => name)).size < list.length) throw invalid("adapters has one twice");
  return list;
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}

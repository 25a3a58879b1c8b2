import { quote } from "../../core/quote.js";
import { datasetError } from "../errors.js";

/** Shards that one pattern may name. */
const MOST_SHARDS = 100_000;

/**
 * The shards of a list as WebDataset writes it: paths or URLs with `::` between them, in which `{000..123}` stands for all
 * numbers of as many digits from the first to the last, and `{a,b}` for either.
 *
 * @throws `ERR_DATASET` for braces that are neither, and for too many shards
 */
export function shardNames(list: string): string[] {
  const names = list.split("::").flatMap(expanded);
  if (names.some((name) => name === "")) throw datasetError(`${quote(list)} names an empty shard`);
  return names;
}

function expanded(pattern: string): string[] {
  const found = /^(.*?)\{([^{}]*)\}(.*)$/s.exec(pattern);
  if (!found) return [pattern];
  const [, before, inside, after] = found as unknown as [string, string, string, string];
  const names = choices(inside, pattern).flatMap((choice) => expanded(after).map((rest) => before + choice + rest));
  if (names.length > MOST_SHARDS) throw datasetError(`${quote(pattern)} names more than ${MOST_SHARDS} shards`);
  return names;
}

function choices(inside: string, pattern: string): string[] {
  const range = /^(\d+)\.\.(\d+)$/.exec(inside);
  if (!range) {
    if (inside.includes(",")) return inside.split(",");
    throw datasetError(`${quote(pattern)}: {${inside}} is neither a range as {000..123} nor a choice as {a,b}`);
  }
  const [first, last] = [Number(range[1]), Number(range[2])];
  if (last < first || last - first >= MOST_SHARDS)
    throw datasetError(`${quote(pattern)}: {${inside}} is not a range of at most ${MOST_SHARDS} numbers`);
  const width = range[1]!.length;
  return Array.from({ length: last - first + 1 }, (_, i) => String(first + i).padStart(width, "0"));
}

/**
 * The key of a member's sample and the name of its part, as WebDataset takes them apart at the first dot of the last name:
 * `a/000.input_image.jpg` is the part `input_image.jpg` of `a/000`. Undefined for what is no part of a sample.
 */
export function partOf(member: string): { key: string; part: string } | undefined {
  const path = member.replace(/^\.\//, "");
  const start = path.lastIndexOf("/") + 1;
  const dot = path.indexOf(".", start);
  if (dot <= start || dot === path.length - 1 || /^__.*__$/.test(path.slice(start))) return undefined;
  return { key: path.slice(0, dot), part: path.slice(dot + 1).toLowerCase() };
}

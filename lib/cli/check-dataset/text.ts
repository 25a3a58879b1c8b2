import { counted } from "../../core/counted.js";
import { quote } from "../../core/quote.js";
import { type DatasetReport, type Findings, hasFindings } from "../../data/check/report.js";
import type { ImageSize } from "../../images/pixels.js";
import { underscored } from "../../options/names.js";

/** Findings of each kind that are shown. */
const SHOWN = 5;
/** Sizes that are shown. */
const SIZES = 3;

/** The report as lines of text. */
export function describeReport(report: DatasetReport): string {
  const { rows, usableRows, imageBytes, formats, tokens, sheet } = report;
  const kinds = Object.entries(formats).map(([extension, count]) => `${count.toLocaleString("en")} ${extension}`);
  return [
    `${counted(rows, "row")}, of which training can use ${usableRows.toLocaleString("en")}`,
    ...(kinds.length > 0 ? [`images: ${kinds.join(", ")}; ${(imageBytes / 1e6).toFixed(1)} MB`] : []),
    ...sizeLines(report),
    ...(tokens
      ? [
          `instructions: ${tokens.shortest} to ${counted(tokens.longest, "token")}, half of them at most ${tokens.median}`,
        ]
      : []),
    ...findingLines(report),
    ...(sheet ? [`${sheet.path}: ${counted(sheet.rows.length, "pair")}, rows ${sheet.rows.join(", ")}`] : []),
    ...(hasFindings(report) ? [] : ["nothing is wrong with them"]),
  ].join("\n");
}

function sizeLines({ sizes, smallest, largest }: DatasetReport): string[] {
  if (!smallest || !largest) return [];
  const common = sizes.slice(0, SIZES).map((size) => `${sizeText(size)} (${counted(size.images, "image")})`);
  const range = sizes.length > 1 ? [`sides from ${sizeText(smallest)} to ${sizeText(largest)}`] : [];
  return [`sizes: ${[common.join(", "), ...range].join("; ")}`];
}

function findingLines(report: DatasetReport): string[] {
  const { unusable, longPrompts, differentSizes, unchanged, duplicates, nearDuplicates } = report;
  const again = ({ where, repeatedBy }: { where: string; repeatedBy: number[] }) =>
    `${where}, again in ${repeatedBy.length === 1 ? "row" : "rows"} ${listed(repeatedBy)}`;
  return [
    ...lines(unusable, "cannot be used", ({ where, reason }) => `${where}: ${oneLine(reason)}`),
    ...lines(
      longPrompts,
      "has an instruction of more than 77 tokens",
      ({ where, tokens }) => `${where}: ${tokens} tokens`,
    ),
    ...lines(
      differentSizes,
      "has two images of different sizes",
      ({ where, original, edited }) => `${where}: ${sizeText(original)} and ${sizeText(edited)}`,
    ),
    ...lines(unchanged, "has the same image before and after", ({ where }) => where),
    ...lines(duplicates, "repeats another one", again),
    ...lines(nearDuplicates, "looks like another one", again),
  ];
}

/** @param verb what one row does, beginning with its verb in the third person */
function lines<T>(findings: Findings<T>, verb: string, describe: (finding: T) => string): string[] {
  const { count, first } = findings;
  if (count === 0) return [];
  const shown = first.slice(0, SHOWN);
  const plural = verb.replace(/^has\b/, "have").replace(/^(repeat|look)s\b/, "$1");
  return [
    `${counted(count, "row")} ${count === 1 ? verb : plural}:`,
    ...shown.map((finding) => `  ${describe(finding)}`),
    ...(first.length > shown.length ? ["  and more: --json lists up to 100"] : []),
  ];
}

function listed(rows: readonly number[]): string {
  return rows.length > SHOWN ? `${rows.slice(0, SHOWN).join(", ")}, …` : rows.join(", ");
}

function sizeText({ width, height }: ImageSize): string {
  return `${width}×${height}`;
}

/** Reasons can quote what files hold. */
function oneLine(reason: string): string {
  return /^[\x20-\x7e\u00a0-\uffff]*$/.test(reason) ? reason : quote(reason);
}

/** A value with all names of its objects in snake_case, except those of formats. */
export function snakeCased(value: object): object {
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => {
      const inside = typeof each === "object" && each !== null && name !== "formats";
      return [underscored(name), inside ? (Array.isArray(each) ? each.map(itemOf) : snakeCased(each)) : (each ?? null)];
    }),
  );
}

function itemOf(item: unknown): unknown {
  return typeof item === "object" && item !== null ? snakeCased(item) : item;
}

import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { LETTERS, textElement, textWidth } from "../../lib/drawing/letters.js";
import { scoreEdits, summarise, worldExamples } from "../../lib/evaluation/world.js";
import { EDIT_FAMILIES, WORLD_WORDS } from "../../lib/world/index.js";
import { type Outcome, runProgram, tinyModel, Workplace } from "../cli/run-cli.js";

const scripts = fileURLToPath(new URL("../../scripts/tiny/", import.meta.url));
const { drawSheet } = await import(`${scripts}../model/sheet.mjs`);

const MODEL = ["--model", tinyModel, "--device", "cpu"];
const QUICK = [...MODEL, "--steps", "2", "--count", "11"];

async function tinyEval(args: readonly string[], { cwd = "." } = {}): Promise<Outcome> {
  return runProgram(`${scripts}eval.mjs`, args, { cwd });
}

describe("npm run tiny:eval", () => {
  it("prints the total scores and those of each family as one JSON object, for any batch size", async () => {
    using place = new Workplace();
    const [one, several] = await Promise.all([
      tinyEval([...QUICK, "--json", "--batch", "1"]),
      tinyEval([...QUICK, "--json", "--batch", "4", "--sheet", "sheet.png", "--sheet_count", "6"], {
        cwd: place.folder,
      }),
    ]);
    expect(several).toMatchObject({ stderr: "", status: 0 });
    const { families, seconds, ...rest } = JSON.parse(several.stdout);
    expect(seconds).toBeGreaterThan(0);
    expect(rest).toEqual({
      ...{ success: expect.any(Number), count: 11, outside: expect.any(Number) },
      ...{ seed: 100, steps: 2, guidanceScale: expect.any(Number), imageGuidanceScale: expect.any(Number) },
      ...{ scheduler: "EulerAncestralDiscreteScheduler", dtype: "float32", model: tinyModel },
    });
    expect(Object.keys(families)).toEqual(EDIT_FAMILIES);
    for (const [family, summary] of Object.entries(families)) {
      expect(summary).toMatchObject({ success: expect.any(Number), count: family === EDIT_FAMILIES[0] ? 2 : 1 });
      expect(summary).toHaveProperty("outside");
    }

    // Each example has noise of its own, so only rounding can differ.
    const alone = JSON.parse(one.stdout);
    expect(alone.outside).toBeCloseTo(rest.outside, 4);
    for (const family of EDIT_FAMILIES) expect(alone.families[family].success).toBe(families[family].success);

    const sheet = await sharp(place.at("sheet.png")).metadata();
    expect(sheet.format).toBe("png");
    expect(sheet.width! / sheet.height!).toBeGreaterThan(1);
    expect(sheet.width! / sheet.height!).toBeLessThan(2);
  });

  it("prints a table, also with another scheduler", async () => {
    const { stdout, stderr, status } = await tinyEval([...QUICK, "--count", "2", "--scheduler", "DDIMScheduler"]);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    expect(stdout).toContain("DDIMScheduler, 2 steps, guidance ");
    expect(stdout).toMatch(
      /family +success +count +outside\n─+\nrecolour +\d+\.\d % +1 +0\.\d{4}\nreplace .*\n─+\nall /,
    );
  });

  const refused: [what: string, args: string[], status: number, line: RegExp][] = [
    [
      "the seed of what was trained on",
      [...QUICK, "--seed", "2"],
      2,
      /--seed 2 .*\(training\); choose one other than 1, /,
    ],
    ["no model", ["--count", "3"], 2, /--model must be given/],
    ["a count of 0", [...MODEL, "--count", "0"], 2, /--count takes a whole number from 1 /],
    ["an unknown option", [...QUICK, "--sheets", "a.png"], 2, /unknown option --sheets; did you mean --sheet\?/],
    ["an unsupported dtype", [...QUICK, "--dtype", "float64"], 2, /--dtype takes one of auto, float32, /],
    ["a missing model", ["--model", "no/model"], 1, /--model: there is no folder "no\/model"/],
    ["an unknown scheduler", [...QUICK, "--scheduler", "Best"], 1, /unknown scheduler class "Best"/],
    ["a sheet in a missing folder", [...QUICK, "--sheet", "no/sheet.png"], 1, /--sheet: there is no folder ".*no"/],
  ];
  it.each(refused)("refuses %s in one line", async (_, args, status, line) => {
    const outcome = await tinyEval(args);
    expect(outcome.stderr).toMatch(/^tiny:eval: [^\n]+\n$/);
    expect(outcome.stderr).toMatch(line);
    expect(outcome).toMatchObject({ status, stdout: "" });
  });
});

describe("an evaluation", () => {
  it("scores untouched originals 0 and true targets 1", async () => {
    const copied = await scoreEdits(worldExamples(7, 23), async (some) => some.map((e) => e.original), { batch: 5 });
    expect(copied.map(({ example }) => example.index)).toEqual(Array.from({ length: 23 }, (_, i) => i));
    expect(summarise(copied)).toMatchObject({ success: 0, count: 23, outside: 0 });
    const truths = await scoreEdits(worldExamples(7, 23), async (some) => some.map((e) => e.target), { batch: 8 });
    expect(summarise(truths)).toMatchObject({ success: 1, count: 23, outside: 0 });
    expect(Object.values(summarise(truths).families).map((summary) => summary.success)).toEqual(
      EDIT_FAMILIES.map(() => 1),
    );
  });

  it("edits each example from its own noise, the same in every evaluation", async () => {
    const seedsOf = async (seed: number) => {
      const seeds: number[] = [];
      for await (const example of worldExamples(seed, 8)) seeds.push(example.noiseSeed);
      return seeds;
    };
    const seeds = await seedsOf(7);
    expect(new Set([...seeds, ...(await seedsOf(8))]).size).toBe(16);
    expect(await seedsOf(7)).toEqual(seeds);
  });
});

describe("the contact sheet", () => {
  it("shows the images of every example", async () => {
    const results = await scoreEdits(worldExamples(7, 3), async (some) => some.map((e) => e.target), { batch: 3 });
    const pixels = await sharp(await drawSheet(results, summarise(results)))
      .raw()
      .toBuffer({ resolveWithObject: true });
    const { width, channels } = pixels.info;
    const shown = new Set<string>();
    for (let i = 0; i < pixels.data.length; i += channels) shown.add(pixels.data.subarray(i, i + 3).join());
    for (const { example } of results) {
      // The colour in the middle of the lower left corner of each, which nothing but an image shows.
      const corner = example.original.data.subarray((60 * 64 + 3) * 3, (60 * 64 + 3) * 3 + 3).join();
      expect(shown).toContain(corner);
    }
    expect(width).toBeGreaterThan(600);
  });

  it("has letters for all words of the world and all numbers", () => {
    for (const word of [...WORLD_WORDS, "0123456789.%"]) {
      for (const letter of word) expect(LETTERS).toContain(letter);
      expect(textElement(word, { x: 0, y: 20, size: 22, colour: "#000" })).toContain("<path");
    }
    expect(textWidth("ab ab", 44)).toBeCloseTo(2 * textWidth("ab ab", 22), 9);
    expect(() => textWidth("ß", 22)).toThrow('no letter "ß"');
  });
});

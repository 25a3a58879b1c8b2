import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { type Outcome, runProgram, tinyModel, Workplace } from "../cli/run-cli.js";

const scripts = fileURLToPath(new URL("../../scripts/tiny/", import.meta.url));
const { drawGuidance } = await import(`${scripts}guidance-plot.mjs`);

const QUICK = ["--model", tinyModel, "--device", "cpu", "--steps", "1", "--count", "2"];

function tinyGuidance(args: readonly string[], { cwd = "." } = {}): Promise<Outcome> {
  return runProgram(`${scripts}guidance.mjs`, args, { cwd });
}

describe("npm run tiny:guidance", () => {
  it("scores every pair of scales, writes all scores and plots them", async () => {
    using place = new Workplace();
    const scales = ["--guidance_scales", "4,2", "--image_guidance_scales", "1,2.5,1.5"];
    const outcome = await tinyGuidance([...QUICK, ...scales, "--output", "scales"], { cwd: place.folder });
    expect(outcome).toMatchObject({ stderr: "", status: 0 });
    expect(outcome.stdout).toMatch(/^best: \d+\.\d % with guidance scale [24], image guidance scale [\d.]+; /);
    expect(place.list()).toEqual(["scales.json", "scales.png"]);

    const { grid, ...settings } = JSON.parse(readFileSync(place.at("scales.json"), "utf8"));
    expect(settings).toMatchObject({ model: tinyModel, count: 2, steps: 1, dtype: "float32" });
    expect(grid).toHaveLength(6);
    const pairs = grid.map((entry: Record<string, number>) => [entry.guidanceScale, entry.imageGuidanceScale]);
    for (const text of [2, 4]) for (const image of [1, 1.5, 2.5]) expect(pairs).toContainEqual([text, image]);
    for (const entry of grid)
      expect(entry).toMatchObject({ success: expect.any(Number), outside: expect.any(Number), count: 2 });
    expect(new Set(grid.map((entry: { outside: number }) => entry.outside)).size).toBe(6);
    expect((await sharp(place.at("scales.png")).metadata()).format).toBe("png");
  });

  const refused: [what: string, args: string[], status: number, line: RegExp][] = [
    [
      "a scale that is not a number",
      ["--guidance_scales", "2,x"],
      2,
      /--guidance_scales takes numbers above 1 .*"2,x"/,
    ],
    ["a scale that turns guidance off", ["--image_guidance_scales", "0.5"], 2, /takes numbers of at least 1 .*"0\.5"/],
    ["a missing folder", ["--output", "no/scales"], 1, /--output: there is no folder ".*no"/],
  ];
  it.each(refused)("refuses %s in one line", async (_, args, status, line) => {
    const outcome = await tinyGuidance([...QUICK, ...args]);
    expect(outcome.stderr).toMatch(/^tiny:guidance: [^\n]+\n$/);
    expect(outcome.stderr).toMatch(line);
    expect(outcome).toMatchObject({ status, stdout: "" });
  });
});

describe("the heat maps of guidance", () => {
  const entry = (guidanceScale: number, success: number, outside: number | null) => ({
    ...{ guidanceScale, imageGuidanceScale: 1.5, success, outside },
  });

  it("are darker for higher values", async () => {
    const grid = [entry(2, 0.25, 0.01), entry(4, 0.5, 0.03), entry(6, 0.75, 0.02)];
    const { data, info } = await sharp(await drawGuidance(grid, grid[2]))
      .removeAlpha()
      .greyscale()
      .raw()
      .toBuffer({ resolveWithObject: true });
    // Cells are the only large areas; along a line through the upper part of them the shade changes only between cells.
    const y = Math.round(info.height / 2) - 18;
    const shades: number[] = [];
    for (let x = 1; x < info.width; x++) {
      const runs = Array.from({ length: 40 }, (_, i) => data[y * info.width + x + i]);
      if (runs.every((shade) => shade === runs[0]) && runs[0] !== data[y * info.width + x - 1]) shades.push(runs[0]!);
    }
    const paper = data[0]!;
    const cells = shades.filter((shade) => shade !== paper);
    expect(cells).toHaveLength(6);
    const [a, b, c, d, e, f] = cells as [number, number, number, number, number, number];
    expect(a > b && b > c).toBe(true);
    expect(d > f && f > e).toBe(true);
  });

  it("can be drawn for one pair, and without any pixel outside the edit", async () => {
    const grid = [entry(2, 1, null)];
    const { format } = await sharp(await drawGuidance(grid, grid[0])).metadata();
    expect(format).toBe("png");
  });
});

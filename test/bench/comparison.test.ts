import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { readJson } from "../helpers/fixtures.js";

const bench = new URL("../../bench/", import.meta.url);
const { comparisons } = await import(new URL("comparison.mjs", bench).href);
const { plot } = await import(new URL("plot.mjs", bench).href);
const { table } = await import(new URL("report.mjs", bench).href);
const results = new URL("results/", bench).pathname;
const records = readdirSync(results).filter((name) => name.endsWith(".json"));

test.each(records)("recorded results can be shown as tables and as a plot: %s", (name) => {
  const record = readJson<{ cases: unknown[] }>(`${results}${name}`);
  const sections: { title: string; rows: { label: string; values: { side: string }[]; ratio?: number }[] }[] =
    comparisons(record);
  expect(sections).toHaveLength(record.cases.length);
  for (const { title, rows } of sections) {
    expect(table(record)).toContain(`| ${title} | instruct-pix2pix |`);
    expect(rows.length).toBeGreaterThan(0);
    for (const { label, values, ratio } of rows) {
      expect(values[0]!.side).toBe("instruct-pix2pix");
      if (ratio !== undefined) expect(plot([record])).toContain(`>${label}<`);
    }
  }
});

test("the ratio is that of the better peer, turn by turn, and above 1 where this package is better", () => {
  const side = (stepSeconds: number[]) => ({
    stepSeconds,
    editSeconds: [1],
    peakBytes: 2 ** 30,
    loadSeconds: 1,
    firstSeconds: 1,
  });
  const record = {
    cases: [
      {
        name: "edit",
        settings: { dtype: "float32", size: 64, steps: 4 },
        results: { a: side([9, 9, 9]), "instruct-pix2pix": side([1, 2, 4]), b: side([3, 4, 4]) },
      },
    ],
  };
  const [{ rows }] = comparisons(record);
  expect(rows[0].ratio).toBe(2);
  expect(rows.at(-1).ratio).toBe(1);
});

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { read, root } from "./pages.js";

it("shows the table that the simulation of scaling computes", () => {
  const { stdout, status } = spawnSync(process.execPath, [join(root, "scripts/simulate-scaling.mjs")], {
    encoding: "utf8",
  });
  expect(status).toBe(0);
  const rows = stdout.trim().split("\n");
  expect(rows.length).toBe(26);
  expect(/<!-- scaling -->\n([\s\S]*?)\n<!-- \/scaling -->/.exec(read("docs/distributed.md"))?.[1]).toBe(
    rows.join("\n"),
  );
  // What holds whatever the rates are: more GPUs, a slower network or wider gradients never make a step faster.
  const parsed = rows.slice(2).map((row) => row.split("|").map((cell) => cell.trim()));
  const efficiency = (cells: string[]) => Number.parseInt(cells[9]!, 10);
  for (const each of parsed)
    for (const other of parsed)
      if (each[1] === other[1] && each[3] === other[3] && each[4] === other[4] && Number(each[2]) < Number(other[2]))
        expect(efficiency(each)).toBeGreaterThanOrEqual(efficiency(other));
});

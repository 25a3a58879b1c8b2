// Prints the rows that the tests reported, as a table.
import { readFileSync } from "node:fs";

const rows = readFileSync(process.argv[2], "utf8")
  .split("\n")
  .filter(Boolean)
  .map((line) => JSON.parse(line))
  .map(({ what, figure, limit }) => [what, String(figure), String(limit)]);
rows.unshift(["what", "figure", "limit"]);
const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
for (const [i, row] of rows.entries()) {
  console.log(
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join("  ")
      .trimEnd(),
  );
  if (i === 0) console.log(widths.map((width) => "-".repeat(width)).join("  "));
}

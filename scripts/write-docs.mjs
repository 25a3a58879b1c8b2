// Writes the parts of the documentation that are generated from the code:
//
//   node scripts/write-docs.mjs [--check]
//
// docs/cli.md and the tables of commands and options in the README, from the declarations of options; the tables of docs/api.md, from
// the docstrings. With --check nothing is written: exits with 1, naming the pages that are out of date.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { commandLineReference, readmeWithTables } from "../dist/cli/reference.js";
import { pageWithApi } from "./docs/api.mjs";

const { values: flags } = parseArgs({ options: { check: { type: "boolean", default: false } } });
const root = fileURLToPath(new URL("..", import.meta.url));
const read = (page) => readFileSync(join(root, page), "utf8");

const pages = {
  "README.md": readmeWithTables(read("README.md")),
  "docs/cli.md": await commandLineReference(),
  "docs/api.md": pageWithApi(read("docs/api.md"), root),
};
for (const [page, text] of Object.entries(pages)) {
  if (text === read(page)) continue;
  if (!flags.check) writeFileSync(join(root, page), text);
  else {
    console.error(`${page} is out of date; run \`node scripts/write-docs.mjs\``);
    process.exitCode = 1;
  }
}

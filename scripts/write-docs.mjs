// Writes the parts of the documentation that are generated from the code:
//
//   node scripts/write-docs.mjs [--check]
//
// docs/cli.md, the tables of commands and options in the README, and the interface of training's options, from the declarations of
// options; the tables of docs/api.md, from the docstrings. With --check nothing is written: exits with 1, naming the pages that are out of date.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { commandLineReference, readmeWithTables } from "../dist/cli/reference.js";
import { trainInputSource } from "../dist/training/options.js";
import { pageWithApi } from "./docs/api.mjs";

const { values: flags } = parseArgs({ options: { check: { type: "boolean", default: false } } });
const root = fileURLToPath(new URL("..", import.meta.url));
const read = (page) => readFileSync(join(root, page), "utf8");

const pages = {
  "README.md": () => readmeWithTables(read("README.md")),
  "docs/cli.md": commandLineReference,
  // Before the page that repeats its comments.
  "lib/training/train-input.ts": trainInputSource,
  "docs/api.md": () => pageWithApi(read("docs/api.md"), root),
};
for (const [page, write] of Object.entries(pages)) {
  const text = await write();
  if (text === read(page)) continue;
  if (!flags.check) writeFileSync(join(root, page), text);
  else {
    console.error(`${page} is out of date; run \`node scripts/write-docs.mjs\``);
    process.exitCode = 1;
  }
}

// Writes what the documentation repeats of the code: docs/cli.md, and the table of options in the README. A test fails
// while they are out of date.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { commandLineReference, readmeWithOptions } from "../dist/cli/reference.js";

const root = fileURLToPath(new URL("..", import.meta.url));
writeFileSync(join(root, "docs", "cli.md"), await commandLineReference());
const readme = join(root, "README.md");
writeFileSync(readme, readmeWithOptions(readFileSync(readme, "utf8")));

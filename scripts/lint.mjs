// Checks the style of all sources: Biome for TypeScript and JavaScript, clang-format for C++.
//
//   node scripts/lint.mjs [--fix]
//
// clang-format's output differs between versions, so the one in node_modules is used (version 15; 14 formats this code
// the same). On a platform without a binary in that package, one of these versions is taken from the path.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const require = createRequire(import.meta.url);
const { values: flags } = parseArgs({ options: { fix: { type: "boolean", default: false } } });

const ACCEPTED_CLANG_FORMATS = ["14", "15"];

function fail(message) {
  console.error(`lint: ${message}`);
  process.exit(1);
}

/** The folder of an installed package. */
function packageFolder(name) {
  try {
    return dirname(require.resolve(`${name}/package.json`));
  } catch {
    return fail(`${name} is not installed; run \`npm ci\``);
  }
}

function findClangFormat() {
  const platform = process.platform === "win32" ? "win32" : `${process.platform}_x64`;
  const name = process.platform === "win32" ? "clang-format.exe" : "clang-format";
  // macOS on ARM also runs x64 binaries.
  const runs = process.arch === "x64" || process.platform === "darwin";
  const pinned = join(packageFolder("clang-format"), "bin", platform, name);
  if (runs && existsSync(pinned)) return pinned;
  for (const candidate of ["clang-format", ...ACCEPTED_CLANG_FORMATS.map((version) => `clang-format-${version}`)]) {
    const { stdout } = spawnSync(candidate, ["--version"], { encoding: "utf8" });
    if (ACCEPTED_CLANG_FORMATS.includes(/version (\d+)\./.exec(stdout ?? "")?.[1])) return candidate;
  }
  return fail(
    `no clang-format ${ACCEPTED_CLANG_FORMATS.join(" or ")} for ${process.platform} ${process.arch}; install one`,
  );
}

const sources = ["native", "test"]
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: true }).map((path) => join(folder, path)))
  .filter((path) => /\.(h|hpp|c|cc|cpp|cu|cuh)$/.test(path))
  .sort();

const checks = [
  [
    "biome",
    process.execPath,
    [join(packageFolder("@biomejs/biome"), "bin", "biome"), "check", ...(flags.fix ? ["--write"] : [])],
  ],
  ["clang-format", findClangFormat(), [...(flags.fix ? ["-i"] : ["--dry-run", "-Werror"]), ...sources]],
];
const failed = checks.filter(
  ([, program, args]) => spawnSync(program, args, { cwd: root, stdio: "inherit" }).status !== 0,
);
if (failed.length > 0)
  fail(`${failed.map(([name]) => name).join(" and ")} found problems; \`npm run lint -- --fix\` fixes most of them`);

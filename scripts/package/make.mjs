// Makes tarballs from a repository and the builds of its platforms.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pack } from "./pack.mjs";
import { stagePackages } from "./stage.mjs";

export const readManifest = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

/**
 * Makes every tarball in `out`, and beside them `packages.json`, which lists them in the order of
 * publication: the platform packages before the one that names them. `SHA256SUMS` lists their hashes in that order.
 */
export function makePackages({ root, artifacts, targets, out }) {
  mkdirSync(out, { recursive: true });
  for (const name of readdirSync(out)) if (name.endsWith(".tgz")) rmSync(join(out, name));
  const staging = join(out, "staging");
  const staged = stagePackages({ root, targets, artifacts, staging });
  const made = (folder) => ({ ...pack(folder, out), manifest: readManifest(folder) });
  const packages = { platforms: staged.platforms.map(made), root: made(staged.folder) };
  rmSync(staging, { recursive: true });
  const listed = [...packages.platforms, packages.root];
  writeFileSync(
    join(out, "packages.json"),
    `${JSON.stringify(
      listed.map(({ name, version, file, size, integrity }) => ({ name, version, file, size, integrity })),
      null,
      2,
    )}\n`,
  );
  const sums = listed.map(
    ({ file, path }) => `${createHash("sha256").update(readFileSync(path)).digest("hex")}  ${file}\n`,
  );
  writeFileSync(join(out, "SHA256SUMS"), sums.join(""));
  return packages;
}

// Packs staged folders with `npm pack`.

import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

/** The maximum size of the root package's tarball, in bytes. */
export const ROOT_LIMIT = 25_000_000;

/** Runs npm: the one that runs this script, if any. */
export function npm(args, options = {}) {
  const program = process.env.npm_execpath;
  const [command, first] = program?.endsWith(".js") ? [process.execPath, [program]] : ["npm", []];
  return spawnSync(command, [...first, ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    shell: command === "npm" && process.platform === "win32",
    ...options,
  });
}

/** Packs a folder; resolves to npm's description of the tarball, with its path. */
export function pack(folder, destination) {
  mkdirSync(destination, { recursive: true });
  const { status, stdout, stderr } = npm(
    ["pack", "--json", "--ignore-scripts", "--loglevel=error", "--pack-destination", destination],
    { cwd: folder },
  );
  if (status !== 0) throw new Error(`npm pack in ${folder} ended with ${status}: ${stderr}`);
  const packed = JSON.parse(stdout);
  const [entry] = Array.isArray(packed) ? packed : Object.values(packed);
  return {
    name: entry.name,
    version: entry.version,
    file: entry.filename,
    path: join(destination, entry.filename),
    size: entry.size,
    unpackedSize: entry.unpackedSize,
    integrity: entry.integrity,
    files: entry.files.map(({ path }) => path),
  };
}

// The photographs that the model learns from and those that it is measured with: photographs.json lists the packages that carry
// them and their licences. None of them is in the repository.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";

/** Pixels of the longer side that are kept: crops are scaled down anyway. */
const LONGEST = 1600;
const QUALITY = 95;

/** How a package is fetched into an empty folder and unpacked there; gives the folder of its files. */
const REGISTRIES = {
  debian(name, folder) {
    run("apt-get", ["download", "-q", name], folder);
    const files = join(folder, "files");
    run("dpkg-deb", ["-x", theOnly(folder, ".deb"), files], folder);
    return files;
  },
  npm(name, folder) {
    run("npm", ["pack", "--silent", name], folder);
    run("tar", ["-xzf", theOnly(folder, ".tgz")], folder);
    return join(folder, "package");
  },
  pypi(name, folder) {
    run("python3", ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", name], folder);
    const files = join(folder, "files");
    run("python3", ["-m", "zipfile", "-e", theOnly(folder, ".whl"), files], folder);
    return files;
  },
};

function run(program, args, cwd) {
  execFileSync(program, args, { cwd, stdio: ["ignore", "ignore", "inherit"] });
}

function theOnly(folder, ending) {
  const found = readdirSync(folder).filter((name) => name.endsWith(ending));
  if (found.length !== 1) throw new Error(`${folder}: ${found.length} files ${ending} instead of one`);
  return join(folder, found[0]);
}

/**
 * Fetches the packages and takes their photographs, reduced to 1600 pixels, into `learn` and `held-out` below a folder. What is
 * there already is not fetched again.
 *
 * @param {(line: string) => void} log
 * @returns {Promise<{ learn: string, heldOut: string }>} the two folders
 */
export async function collectPhotographs(folder, log) {
  const sources = JSON.parse(readFileSync(new URL("photographs.json", import.meta.url), "utf8"));
  const places = { learn: join(folder, "learn"), heldOut: join(folder, "held-out") };
  for (const source of sources) {
    const target = join(source.heldOut ? places.heldOut : places.learn, source.package.replaceAll("==", "@"));
    if (existsSync(target)) continue;
    log(`photographs of ${source.package}`);
    await collect(source, target);
  }
  return places;
}

async function collect({ package: name, registry, folder, files }, target) {
  const place = mkdtempSync(join(tmpdir(), "ip2p-photographs-"));
  const partial = `${target}.partial`;
  rmSync(partial, { recursive: true, force: true });
  try {
    const unpacked = REGISTRIES[registry](name, place);
    for (const file of files) {
      const to = join(partial, `${file.replace(/\.\w+$/, "")}.jpg`);
      mkdirSync(dirname(to), { recursive: true });
      await sharp(join(unpacked, folder, file))
        .rotate()
        .flatten({ background: "#ffffff" })
        .resize(LONGEST, LONGEST, { fit: "inside", withoutEnlargement: true })
        .jpeg({ quality: QUALITY })
        .toFile(to);
    }
    mkdirSync(dirname(target), { recursive: true });
    renameSync(partial, target);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

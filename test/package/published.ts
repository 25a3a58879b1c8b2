import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LocalRegistry } from "./registry.js";
import { npmProgram, run } from "./run.js";

export const repository = fileURLToPath(new URL("../..", import.meta.url));

/** One tarball, as `npm run package` lists it. */
export interface Tarball {
  name: string;
  version: string;
  file: string;
  size: number;
}

/** The package as it is released: its tarballs, and a registry that has them. */
export interface Published {
  /** A temporary folder for everything that a test makes. */
  folder: string;
  tarballs: (Tarball & { path: string })[];
  registry: LocalRegistry;
  remove(): void;
}

/** Makes the tarballs of this clone's build. */
export async function makeTarballs(out: string): Promise<(Tarball & { path: string })[]> {
  await run(process.execPath, [join(repository, "scripts", "package.mjs"), "--out", out]);
  const { default: listed } = (await import(join(out, "packages.json"), { with: { type: "json" } })) as {
    default: Tarball[];
  };
  return listed.map((each) => ({ ...each, path: join(out, each.file) }));
}

/** Makes the tarballs and publishes them to a registry of this process. */
export async function publish(): Promise<Published> {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-package-"));
  const tarballs = await makeTarballs(join(folder, "tarballs"));
  const registry = await LocalRegistry.start();
  const npm = await npmProgram();
  for (const { path } of tarballs) {
    const { host } = new URL(registry.url);
    const token = `--//${host}/:_authToken=none`;
    await run(process.execPath, [npm, "publish", path, "--access", "public", `--registry=${registry.url}`, token]);
  }
  const remove = () => {
    registry.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { folder, tarballs, registry, remove };
}

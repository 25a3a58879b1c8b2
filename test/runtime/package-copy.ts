import { copyFileSync, cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { localBuildFolder } from "../../lib/runtime/addon.js";
import { packageRoot } from "../../lib/runtime/platform.js";

/** Copies the compiled package and its addon, as an installation of its own; its dependencies are not copied. */
export function copyPackage(folder: string): void {
  for (const part of ["dist", "models", "package.json", "CMakeLists.txt"])
    cpSync(join(packageRoot, part), join(folder, part), { recursive: true });
  const addon = join(folder, "build", "Release");
  mkdirSync(addon, { recursive: true });
  for (const file of readdirSync(localBuildFolder()))
    if (/\.(node|json|so|dylib|dll)$/.test(file)) copyFileSync(join(localBuildFolder(), file), join(addon, file));
}

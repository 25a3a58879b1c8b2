import { manifestVersion } from "./native/addon.js";
import { packageRoot } from "./native/platform.js";

/** The version of this package. */
export function packageVersion(): string {
  return manifestVersion(packageRoot) as string;
}

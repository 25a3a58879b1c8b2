import { manifestVersion } from "../runtime/addon.js";
import { packageRoot } from "../runtime/platform.js";

/** The version of this package. */
export function packageVersion(): string {
  return manifestVersion(packageRoot) as string;
}

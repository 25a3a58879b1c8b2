import { manifestVersion } from "./addon.js";
import { packageRoot } from "./platform.js";

/** The version of this package. */
export function packageVersion(): string {
  return manifestVersion(packageRoot) as string;
}

import { InstructPix2PixError } from "../core/errors.js";

/** The libtorch that releases are built and tested against, and that `ip2p install` fetches. */
export const LIBTORCH_VERSION = "2.13.0";

/** The oldest and the newest minor version of libtorch 2 that the sources compile against. */
const MINOR_RANGE = { oldest: 11, newest: 15 } as const;

/** Binary compatibility: libtorch's C++ ABI is stable within a minor version only. */
function minorOf(version: string): { major: number; minor: number } | undefined {
  const match = /^(\d+)\.(\d+)(?:\.|$|[^\d.])/.exec(version);
  return match ? { major: Number(match[1]), minor: Number(match[2]) } : undefined;
}

/** Whether two versions (`2.13.0`, `2.13.1+cu130`) have the same major and minor number. */
export function sameMinor(a: string, b: string): boolean {
  const [x, y] = [minorOf(a), minorOf(b)];
  return x !== undefined && y !== undefined && x.major === y.major && x.minor === y.minor;
}

/** Whether the sources of this package compile against this version of libtorch. */
export function isSupportedVersion(version: string): boolean {
  const parsed = minorOf(version);
  return parsed?.major === 2 && parsed.minor >= MINOR_RANGE.oldest && parsed.minor <= MINOR_RANGE.newest;
}

/** The accepted versions, in words. */
export const supportedVersions = `2.${MINOR_RANGE.oldest} to 2.${MINOR_RANGE.newest}`;

/**
 * Checks that a libtorch is compatible with an addon (or, without `builtAgainst`, suitable for a build).
 *
 * @throws `ERR_LIBTORCH_VERSION` naming both versions.
 */
export function assertVersion(found: { version: string; root: string }, builtAgainst?: string): void {
  const bypass = "set LIBTORCH_BYPASS_VERSION_CHECK=1 to try it anyway";
  if (!isSupportedVersion(found.version))
    throw new InstructPix2PixError(
      "ERR_LIBTORCH_VERSION",
      `libtorch ${found.version} at ${found.root} is not supported: this package needs ${supportedVersions} (${LIBTORCH_VERSION} is tested); ${bypass}`,
    );
  if (builtAgainst !== undefined && !sameMinor(found.version, builtAgainst))
    throw new InstructPix2PixError(
      "ERR_LIBTORCH_VERSION",
      `the addon was built against libtorch ${builtAgainst}, but libtorch ${found.version} was found at ${found.root}; run \`npx ip2p build\` to build for ${found.version}, or \`npx ip2p install\` for libtorch ${LIBTORCH_VERSION}; ${bypass}`,
    );
}

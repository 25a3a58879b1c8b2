import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { InstructPix2PixError } from "../core/errors.js";
import { detectLibc, type Libc } from "./libc.js";

/** Environment variables, as in `process.env`; a parameter everywhere so that tests need not touch the process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The folder that holds this package's `package.json`, whether this file runs from `lib/` or from `dist/`. */
export const packageRoot = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** The platform in the names of the prebuilt packages, e.g. `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`. */
export function platformAbi(): string {
  const abi =
    { linux: detectLibc().family === "musl" ? "-musl" : "-gnu", win32: "-msvc" }[process.platform as string] ?? "";
  return `${process.platform}-${process.arch}${abi}`;
}

/** The oldest glibc that libtorch's own binaries (`manylinux_2_28`) and the prebuilt addon load on. */
export const OLDEST_GLIBC = "2.28";

/**
 * Throws on platforms without any libtorch.
 *
 * @throws `ERR_LIBTORCH` on a Linux whose C library is musl, or a glibc older than {@link OLDEST_GLIBC}.
 */
export function assertSupportedPlatform({ family, version }: Libc = detectLibc()): void {
  if (process.platform !== "linux") return;
  if (family === "musl")
    throw new InstructPix2PixError(
      "ERR_LIBTORCH",
      "this Linux uses the musl C library, and libtorch exists only for glibc; use a glibc system or image (Debian, Ubuntu, Fedora, node:24-slim)",
    );
  if (version !== null && version.localeCompare(OLDEST_GLIBC, "en", { numeric: true }) < 0)
    throw new InstructPix2PixError(
      "ERR_LIBTORCH",
      `this system is too old: its C library is glibc ${version}, and libtorch needs ${OLDEST_GLIBC} or newer; use a newer one (Debian 10, Ubuntu 20.04, RHEL 8 or newer)`,
    );
}

/** The file name of a shared library on this platform, e.g. `libtorch_cpu.so` for `torch_cpu`. */
export function sharedLibraryName(stem: string): string {
  if (process.platform === "win32") return `${stem}.dll`;
  return process.platform === "darwin" ? `lib${stem}.dylib` : `lib${stem}.so`;
}

/** The library of the NVIDIA driver, which is on the system's own search path. */
export const cudaDriverLibrary = process.platform === "win32" ? "nvcuda.dll" : "libcuda.so.1";

/**
 * The user's cache folder of this package: `$INSTRUCT_PIX2PIX_CACHE`, else `instruct-pix2pix` in `$XDG_CACHE_HOME`
 * (ignored when relative, as its specification says), else in `~/.cache`.
 */
export function cacheFolder(env: Environment = process.env): string {
  if (env.INSTRUCT_PIX2PIX_CACHE) return resolve(env.INSTRUCT_PIX2PIX_CACHE);
  const xdg = env.XDG_CACHE_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".cache"), "instruct-pix2pix");
}

/** Whether an on/off environment variable is on: set, and neither empty, `0`, `false`, `no` nor `off`. */
export function isEnabled(value: string | undefined): boolean {
  return value !== undefined && !["", "0", "false", "no", "off"].includes(value.trim().toLowerCase());
}

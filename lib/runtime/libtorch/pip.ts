import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { throwIfAborted } from "../../core/errors.js";
import { Lines, runProgram, runProgramSync } from "../child-process.js";
import type { Environment } from "../platform.js";
import { tooLarge } from "./download.js";
import { SourceUnavailable } from "./progress.js";
import { largestSize, type PinnedWheel } from "./releases.js";

/** A program with its leading arguments. */
export type PipCommand = readonly [string, ...string[]];

/** The pip of the active virtual environment, else the first on the path that works. */
export function findPip(env: Environment = process.env): PipCommand | undefined {
  const windows = process.platform === "win32";
  const candidates: PipCommand[] = [["python3", "-m", "pip"], ["python", "-m", "pip"], ["pip3"], ["pip"]];
  if (env.VIRTUAL_ENV) {
    const python = join(env.VIRTUAL_ENV, windows ? "Scripts" : "bin", windows ? "python.exe" : "python3");
    candidates.unshift([python, "-m", "pip"]);
  }
  return candidates.find(
    ([program, ...args]) => runProgramSync(program, [...args, "--version"], { env, timeout: 60_000 }).status === 0,
  );
}

/**
 * The arguments with which any version of pip and Python downloads exactly this wheel. Index, mirror, proxy and wheel
 * folders come from the user's pip configuration.
 */
export function pipArguments(wheel: PinnedWheel, folder: string): string[] {
  // torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl: name, version, Python, ABI, platforms joined by dots
  const platforms = (
    wheel.file
      .replace(/\.whl$/, "")
      .split("-")
      .at(-1) as string
  ).split(".");
  return [
    "download",
    "--no-deps",
    "--only-binary=:all:",
    ...["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"],
    ...platforms.flatMap((platform) => ["--platform", platform]),
    ...["--disable-pip-version-check", "--no-input", "--progress-bar", "off"],
    ...["--dest", folder],
    wheel.requirement,
  ];
}

/**
 * Downloads a wheel into a folder with pip.
 *
 * @returns the path of the file; its content is not checked here.
 * @throws {SourceUnavailable} with pip's last error if it fails; `ERR_DOWNLOAD` if it downloads far more than the
 * wheel's size.
 */
export async function pipDownload(
  pip: PipCommand,
  wheel: PinnedWheel,
  folder: string,
  options: { env?: Environment; signal?: AbortSignal; onLine?: (line: string) => void } = {},
): Promise<string> {
  const [program, ...first] = pip;
  let lastError = "";
  const separator = /[\r\n]+/;
  const lines = {
    stdout: new Lines((line) => line.trim() && options.onLine?.(line.trim()), separator),
    stderr: new Lines((line) => {
      if (/^(ERROR|error)\b/.test(line) || !lastError) lastError = line.trim().replace(/^ERROR: /, "");
    }, separator),
  };
  const tooMuch = new AbortController();
  // pip has no size limit. It briefly needs twice the file's size.
  const most = 2 * largestSize(wheel);
  const watch = setInterval(async () => {
    if ((await bytesBelow(folder)) > most) tooMuch.abort();
  }, 250);
  const { status, error } = await runProgram(program, [...first, ...pipArguments(wheel, folder)], {
    env: options.env,
    // The system's temporary folder is often too small for half a gigabyte; this one lies in the cache.
    variables: { PYTHONUNBUFFERED: "1", TMPDIR: folder, TEMP: folder, TMP: folder },
    signal: options.signal ? AbortSignal.any([options.signal, tooMuch.signal]) : tooMuch.signal,
    killSignal: "SIGINT",
    onOutput: (text, stream) => lines[stream].add(text),
  }).finally(() => clearInterval(watch));
  for (const stream of Object.values(lines)) stream.end();
  throwIfAborted(options.signal);
  if (tooMuch.signal.aborted) throw tooLarge(`${wheel.requirement}, from ${pip.join(" ")},`, largestSize(wheel));
  if (error) throw new SourceUnavailable(`${pip.join(" ")}: ${error.message}`);
  const found = (await readdir(folder)).find((name) => decodeURIComponent(name) === wheel.file);
  if (status === 0 && found) return join(folder, found);
  throw new SourceUnavailable(
    `${pip.join(" ")} download ${wheel.requirement}: ${status === 0 ? `it did not fetch ${wheel.file}` : lastError || `status ${status}`}`,
  );
}

/** Total size of a folder's files, which may vanish meanwhile. */
async function bytesBelow(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder, { recursive: true }).catch(() => []))
    bytes += (await lstat(join(folder, name)).catch(() => undefined))?.size ?? 0;
  return bytes;
}

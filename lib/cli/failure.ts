import { type ErrorCode, InstructPix2PixError, isError, isInstructPix2PixError } from "../core/errors.js";
import type { OptionDeclarations } from "../options/declaration.js";
import { camelCase } from "../options/names.js";

/** Errors about the installation continue on further lines with what was tried; all others are one line. */
const LISTS: readonly ErrorCode[] = ["ERR_LIBTORCH_NOT_FOUND", "ERR_ADDON_NOT_FOUND", "ERR_BUILD_TOOLS"];

/** The exit status for an error: 2 if the command line itself is wrong, 1 for everything else. */
export function statusOf(error: unknown): 1 | 2 {
  return isInstructPix2PixError(error, "ERR_USAGE") ? 2 : 1;
}

/**
 * The printed form of an error. Messages can quote file names and tensor names, which may contain anything, so control
 * characters are escaped: an error stays on its line and cannot control the terminal.
 */
export function describeFailure(error: unknown, verbose: boolean, declarations: OptionDeclarations = {}): string {
  const known = error instanceof InstructPix2PixError;
  const text = isError(error) ? error.message : String(error);
  const named = known ? asFlags(text, declarations) : text;
  const message = escapeControls(named, known && LISTS.includes(error.code));
  const line = known ? message : `internal error: ${message}; this is a bug, --verbose shows where`;
  return verbose && isError(error) ? `${line}\n${traceOf(error)}` : line;
}

/**
 * The library's messages name options in camelCase, `numImagesPerPrompt` → `--num_images_per_prompt`, and methods that a flag calls,
 * `vae.enableTiling()` → `--vae_tiling`. Quoted text and paths are the user's own and are left alone.
 */
export function asFlags(text: string, declarations: OptionDeclarations): string {
  const flags = new Map(
    Object.keys(declarations)
      .filter((name) => name.includes("_"))
      .map((name) => [camelCase(name), `--${name}`]),
  );
  for (const part of ["Slicing", "Tiling"])
    flags.set(`vae.enable${part}()`, flags.get(`vae${part}`) ?? `vae.enable${part}()`);
  return text.replace(
    /"[^"]*"|\bvae\.enable\w+\(\)|(?<![\w/\\.-])[a-z]\w*[A-Z]\w*(?![\w/\\-]|\.\w)/g,
    (word) => flags.get(word) ?? word,
  );
}

/** Escapes characters that would move the cursor, change the terminal's state or the text direction. */
function escapeControls(text: string, keepLines: boolean): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not reach a terminal
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (c) => {
    if (c === "\n" && keepLines) return c;
    if (c === "\n") return "\\n";
    return c === "\t" ? "\\t" : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The stack, and those of the causes below. */
function traceOf(error: Error): string {
  const frames = escapeControls(error.stack ?? "", true);
  const code = error instanceof InstructPix2PixError ? `[${error.code}] ` : "";
  const cause = isError(error.cause) ? `\ncaused by ${traceOf(error.cause)}` : "";
  return `${code}${frames}${cause}`;
}

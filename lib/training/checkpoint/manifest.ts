import { createHash } from "node:crypto";
import { InstructPix2PixError } from "../../core/errors.js";
import type { Sha256 } from "../../files/file-system.js";
import { JsonSyntaxError, parseJson } from "../../files/json.js";
import type { Ancestor, RunIdentity } from "./lineage.js";
import { isSafeFileName, MANIFEST } from "./names.js";

const FORMAT = "instruct-pix2pix checkpoint";
const FORMAT_VERSION = 1;

/** A checkpoint's list of files, written last: its presence means that the checkpoint is complete. */
export interface Manifest {
  /** The version of this package that wrote it. */
  readonly packageVersion: string;
  /** Optimizer steps done. */
  readonly step: number;
  /** Size and hash of every file except the manifest, by its name relative to the checkpoint, with `/` between parts. */
  readonly files: ReadonlyMap<string, Sha256>;
  /** The run that it belongs to; undefined in checkpoints of versions before runs had an identity. */
  readonly run?: RunIdentity;
  /** When it was written, in milliseconds since 1970; later than every earlier checkpoint in the folder. */
  readonly writtenAt?: number;
}

/** The manifest as JSON; `manifest_sha256` is the hash of the same text without that key. */
export function formatManifest({ packageVersion, step, files, run, writtenAt }: Manifest): string {
  const content = {
    format: FORMAT,
    format_version: FORMAT_VERSION,
    package_version: packageVersion,
    step,
    ...(run && { run: { id: run.id, ancestors: run.ancestors.map(({ id, step }) => ({ id, step })) } }),
    ...(writtenAt !== undefined && { written_at: writtenAt }),
    files: Object.fromEntries([...files].map(([name, { size, sha256 }]) => [name, { size, sha256 }])),
  };
  return `${JSON.stringify({ ...content, manifest_sha256: digest(content) }, null, 2)}\n`;
}

/**
 * Reads and validates a manifest.
 *
 * @param where its path, for messages
 * @throws `ERR_CHECKPOINT`
 */
export function parseManifest(bytes: Uint8Array, where: string): Manifest {
  const content = record(parseText(bytes, where), where, "the manifest");
  if (content.format !== FORMAT) throw malformed(where, `"format" is not "${FORMAT}"`);
  if (content.format_version !== FORMAT_VERSION)
    throw malformed(
      where,
      `format version ${shown(content.format_version)} cannot be read; this version of the package reads ${FORMAT_VERSION}`,
    );
  const { manifest_sha256: expected, ...rest } = content;
  // Checked before the values, so that a damaged manifest is reported as damaged.
  if (expected !== digest(rest)) throw malformed(where, "its own SHA-256 does not agree with its content");

  const { package_version: packageVersion, step } = content;
  if (typeof packageVersion !== "string") throw malformed(where, '"package_version" is not a string');
  if (!isCount(step)) throw malformed(where, `"step" is ${shown(step)}, not a whole number of at least 0`);
  const files = new Map<string, Sha256>();
  for (const [name, value] of Object.entries(record(content.files, where, '"files"'))) {
    if (!isSafeFileName(name) || name === MANIFEST)
      throw malformed(where, `${shown(name)} is not a name for a file in it`);
    const { size, sha256 } = record(value, where, `the entry of "${name}"`);
    if (!isCount(size)) throw malformed(where, `the size of "${name}" is ${shown(size)}`);
    if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256))
      throw malformed(where, `the SHA-256 of "${name}" is not 64 hexadecimal digits`);
    files.set(name, { size, sha256 });
  }
  const run = content.run === undefined ? undefined : parseRun(content.run);
  if (run === null) throw malformed(where, `"run" is ${shown(content.run)}`);
  const { written_at: writtenAt } = content;
  if (writtenAt !== undefined && !isCount(writtenAt)) throw malformed(where, `"written_at" is ${shown(writtenAt)}`);
  return { packageVersion, step, files, ...(run && { run }), ...(writtenAt !== undefined && { writtenAt }) };
}

/** Parses a run's identity; null if malformed. */
export function parseRun(value: unknown): RunIdentity | null {
  const { id, ancestors } = (value ?? {}) as { id?: unknown; ancestors?: unknown };
  if (!isRunId(id) || !Array.isArray(ancestors)) return null;
  const parsed = ancestors.map((ancestor: unknown): Ancestor | undefined => {
    const { id, step } = (ancestor ?? {}) as { id?: unknown; step?: unknown };
    return (id === null || isRunId(id)) && isCount(step) ? { id, step } : undefined;
  });
  return parsed.every((ancestor) => ancestor !== undefined) ? { id, ancestors: parsed } : null;
}

/** Used in file names, so only letters, digits and hyphens. */
function isRunId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-z][0-9a-z-]{7,63}$/.test(value);
}

function parseText(bytes: Uint8Array, where: string): unknown {
  try {
    return parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    const what = error instanceof JsonSyntaxError ? error.message : "is not valid UTF-8";
    throw new InstructPix2PixError("ERR_CHECKPOINT", `${where}: ${what}`, { cause: error });
  }
}

function digest(content: object): string {
  return createHash("sha256").update(JSON.stringify(content)).digest("hex");
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function record(value: unknown, where: string, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw malformed(where, `${what} is not an object`);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "missing";
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function malformed(where: string, what: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_CHECKPOINT", `${where}: ${what}`);
}

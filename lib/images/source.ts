import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { InstructPix2PixError, isError, throwIfAborted } from "../core/errors.js";
import { displayUrl, fetchBytes } from "./fetch.js";
import { unreadable } from "./unreadable.js";

export interface SourceOptions {
  maxBytes: number | undefined;
  timeoutMs: number;
  allowPrivateAddresses: boolean;
  allowFiles: boolean;
  signal: AbortSignal | undefined;
}

/** An encoded image, and its name in errors. */
export interface EncodedImage {
  bytes: Uint8Array;
  name: string;
}

const MEGABYTE = 1 << 20;
const MAX_DOWNLOAD = 64 * MEGABYTE;
const MAX_FILE = 1024 * MEGABYTE;

/** Reads an encoded image from a path or a URL with the scheme http, https, data or file. */
export async function readSource(source: string | URL, options: SourceOptions): Promise<EncodedImage> {
  if (source === "") throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "the path of the image is empty");
  const url = typeof source === "string" ? asUrl(source) : source;
  if (!url) return readFile(source as string, options);
  switch (url.protocol) {
    case "http:":
    case "https:": {
      const maxBytes = options.maxBytes ?? MAX_DOWNLOAD;
      return { bytes: await fetchBytes(url, { ...options, maxBytes }), name: displayUrl(url) };
    }
    case "data:":
      return { bytes: decodeDataUrl(url.href, options.maxBytes ?? MAX_DOWNLOAD), name: "the image in the data URL" };
    case "file:":
      return readFile(pathOf(url), options);
    default:
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `cannot read an image from a ${url.protocol} URL; use http, https, data or file, or a path`,
      );
  }
}

/** A string is a URL if it begins with a scheme of two letters or more (one is a drive) and `//`, or with `data:`. */
function asUrl(source: string): URL | undefined {
  if (!/^(data:|[a-z][a-z0-9+.-]+:\/\/)/i.test(source)) return undefined;
  if (URL.canParse(source)) return new URL(source);
  throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `"${source.slice(0, 200)}" is not a valid URL`);
}

function pathOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${url.href} does not name a file on this machine`, {
      cause: error,
    });
  }
}

function decodeDataUrl(url: string, maxBytes: number): Buffer {
  const comma = url.indexOf(",");
  if (comma < 0) throw unreadable("the data URL", "has no comma before its data");
  const name = "the image in the data URL";
  const isBase64 = /;\s*base64\s*$/i.test(url.slice(0, comma));
  const data = url.slice(comma + 1).replace(/#.*$/s, "");
  if (data.length * (isBase64 ? 0.75 : 1 / 3) > maxBytes + 2)
    throw unreadable(name, `has more bytes than the limit of ${maxBytes} (maxBytes)`);
  const bytes = percentDecoded(data);
  return isBase64 ? Buffer.from(bytes.toString("latin1"), "base64") : bytes;
}

function percentDecoded(text: string): Buffer {
  if (!text.includes("%")) return Buffer.from(text, "latin1");
  const plain = text.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(plain, "latin1");
}

/** Reads a file, pipe or device, up to the limit. */
async function readFile(
  path: string,
  { maxBytes = MAX_FILE, allowFiles, signal }: SourceOptions,
): Promise<EncodedImage> {
  const name = `"${path}"`;
  if (!allowFiles)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "file paths and file URLs are not allowed here");
  try {
    const file = await open(path, constants.O_RDONLY);
    try {
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of file.createReadStream({ highWaterMark: MEGABYTE, signal }) as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > maxBytes) throw unreadable(name, `has more bytes than the limit of ${maxBytes} (maxBytes)`);
        chunks.push(chunk);
      }
      return { bytes: Buffer.concat(chunks, length), name };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof InstructPix2PixError) throw error;
    throwIfAborted(signal);
    throw fileError(error, name);
  }
}

function fileError(error: unknown, name: string): InstructPix2PixError {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
    case "ENOTDIR":
      return new InstructPix2PixError("ERR_FILE_NOT_FOUND", `the image ${name} does not exist`, { cause: error });
    case "EISDIR":
      return unreadable(name, "is a folder", error);
    case "EACCES":
    case "EPERM":
      return unreadable(name, "cannot be read: permission denied", error);
    default:
      return unreadable(name, `cannot be read: ${isError(error) ? error.message : String(error)}`, error);
  }
}

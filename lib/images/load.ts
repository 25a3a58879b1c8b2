import { types } from "node:util";
import type { Sharp } from "sharp";
import { InstructPix2PixError, isError, throwIfAborted } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { type DecodeOptions, decode, decodeSize, decodeStored, isTimeout, withTimeout } from "./decode.js";
import { tooSlow, withinLimits } from "./decoding.js";
import { type ImageSize, inSlices, type RgbPixels } from "./pixels.js";
import { readSource } from "./source.js";
import type { StoredPixels } from "./stored.js";
import { unreadable } from "./unreadable.js";

/** An encoded image, its path or URL, or a sharp pipeline. A File is a Blob. */
export type EncodedSource = string | URL | Uint8Array | ArrayBuffer | Blob | Sharp;

/** Options of {@link loadImage}. */
export interface LoadImageOptions {
  /** Width times height above which an image is refused, before it is decoded; default 178,956,970 as in Pillow. */
  maxPixels?: number;
  /** Encoded bytes above which an image is refused; default 64 MiB from a URL, 1 GiB from a file or a Blob. */
  maxBytes?: number;
  /** Time limit in milliseconds for the whole download, and again for decoding including the wait for a slot; default 60,000. */
  timeoutMs?: number;
  /**
   * Whether an http(s) URL may lead to loopback, private, link-local and other special addresses; default true. A
   * server that accepts URLs from clients should set this and `allowFiles` to false. Proxies are used only if it is
   * true.
   */
  allowPrivateAddresses?: boolean;
  /** Whether paths and file URLs are accepted; default true. */
  allowFiles?: boolean;
  signal?: AbortSignal;
}

const OPTIONS = optionNames<LoadImageOptions>()({
  maxPixels: true,
  maxBytes: true,
  timeoutMs: true,
  allowPrivateAddresses: true,
  allowFiles: true,
  signal: true,
});

/** A Blob may stand for a file that is larger than memory. */
const MAX_BLOB = 1 << 30;
const DEFAULT_MAX_PIXELS = 178_956_970;
const DEFAULT_TIMEOUT_MS = 60_000;

/** Reads and decodes an image; see `loadImage`. */
export async function loadPixels(source: EncodedSource, options: LoadImageOptions = {}): Promise<RgbPixels> {
  return await loadBy(decode, (pixels) => pixels, source, options);
}

/** As {@link loadPixels}, with what the file says beside colours. */
export async function loadStored(source: EncodedSource, options: LoadImageOptions = {}): Promise<StoredPixels> {
  return await loadBy(decodeStored, (pixels) => ({ ...pixels, form: "colour" }), source, options);
}

/** The size of the image that {@link loadPixels} gives, without decoding its pixels. */
export async function loadSize(source: EncodedSource, options: LoadImageOptions = {}): Promise<ImageSize> {
  return await loadBy(decodeSize, ({ width, height }) => ({ width, height }), source, options);
}

async function loadBy<T>(
  decodeFile: (bytes: Uint8Array, options: DecodeOptions) => Promise<T>,
  ofPixels: (pixels: RgbPixels) => T,
  source: EncodedSource,
  options: LoadImageOptions,
): Promise<T> {
  const {
    maxPixels = DEFAULT_MAX_PIXELS,
    timeoutMs = DEFAULT_TIMEOUT_MS,
    maxBytes,
    allowPrivateAddresses = true,
    allowFiles = true,
    signal,
  } = checkOptions(options, OPTIONS);
  checkLimit("maxPixels", maxPixels, Number.MAX_SAFE_INTEGER);
  checkLimit("timeoutMs", timeoutMs, 2 ** 31 - 1);
  if (maxBytes !== undefined) checkLimit("maxBytes", maxBytes, Number.MAX_SAFE_INTEGER);
  throwIfAborted(signal);

  const limits = { maxPixels, timeoutMs, signal };
  if (typeof source === "string" || isUrl(source)) {
    const { bytes, name } = await readSource(source, {
      maxBytes,
      timeoutMs,
      allowPrivateAddresses,
      allowFiles,
      signal,
    });
    return decodeFile(bytes, { ...limits, name });
  }
  const name = "the image";
  if (types.isUint8Array(source) || types.isAnyArrayBuffer(source)) {
    const bytes = types.isUint8Array(source) ? source : new Uint8Array(source);
    checkBytes(name, bytes.length, maxBytes);
    return decodeFile(bytes, { ...limits, name });
  }
  if (isBlob(source)) return decodeFile(await blobBytes(source, { maxBytes, signal }), { ...limits, name });
  if (isSharp(source)) return ofPixels(await renderPipeline(source, { ...limits, name: "the sharp pipeline" }));
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    "an image is a path, a URL, a Buffer or other Uint8Array, an ArrayBuffer, a Blob or File, a sharp instance or an RgbImage",
  );
}

function checkLimit(name: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} is a whole number from 1 to ${most}, not ${value}`);
}

function checkBytes(name: string, length: number, maxBytes: number | undefined): void {
  if (maxBytes !== undefined && length > maxBytes)
    throw unreadable(name, `has ${length} bytes, more than the limit of ${maxBytes} (maxBytes)`);
}

/** By duck typing, since there are several classes of this name. */
function isBlob(source: unknown): source is Blob {
  const { arrayBuffer, size, type } = Object(source) as Partial<Blob>;
  return typeof arrayBuffer === "function" && typeof size === "number" && typeof type === "string";
}

async function blobBytes(
  blob: Blob,
  { maxBytes = MAX_BLOB, signal }: Pick<LoadImageOptions, "maxBytes" | "signal">,
): Promise<Uint8Array> {
  const name = "the image";
  checkBytes(name, blob.size, maxBytes);
  const bytes = new Uint8Array(
    await blob.arrayBuffer().catch((error: unknown) => {
      throw unreadable(name, "cannot be read: its Blob failed", error);
    }),
  );
  throwIfAborted(signal);
  checkBytes(name, bytes.length, maxBytes);
  return bytes;
}

/** By its class name, since it may be of another realm. */
function isUrl(source: unknown): source is URL {
  return typeof source === "object" && Object.prototype.toString.call(source) === "[object URL]";
}

/** By duck typing, since the caller's sharp may be another copy of the module. */
function isSharp(source: unknown): source is Sharp {
  const candidate = source as Partial<Sharp> | null;
  return (
    typeof candidate === "object" && typeof candidate?.clone === "function" && typeof candidate.toBuffer === "function"
  );
}

/** Renders a caller's pipeline upright, without alpha, as 8-bit RGB; works on a clone of the instance. */
function renderPipeline(pipeline: Sharp, options: DecodeOptions): Promise<RgbPixels> {
  const { maxPixels, timeoutMs, name } = options;
  return withinLimits(options, async (decoder) => {
    try {
      const rgb = withTimeout(pipeline.clone(), timeoutMs).autoOrient().removeAlpha().toColourspace("srgb");
      const { data, info } = await decoder(() => rgb.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true }));
      const { width, height, channels } = info;
      if (width * height > maxPixels)
        throw unreadable(name, `gives ${width}×${height} pixels, more than the limit of ${maxPixels} (maxPixels)`);
      if (channels === 1) return { width, height, data: await widenGray(data) };
      if (channels !== 3) throw unreadable(name, `gives ${channels} channels, not 1 or 3`);
      return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
    } catch (error) {
      if (error instanceof InstructPix2PixError) throw error;
      if (isTimeout(error)) throw tooSlow(options, error);
      const reason = isError(error) ? error.message.split("\n", 1)[0]! : String(error);
      throw unreadable(name, `failed: ${reason}`, error);
    }
  });
}

async function widenGray(gray: Uint8Array): Promise<Uint8Array> {
  const rgb = new Uint8Array(gray.length * 3);
  await inSlices(gray.length, (from, to) => {
    for (let i = from; i < to; i++) rgb.fill(gray[i]!, i * 3, i * 3 + 3);
  });
  return rgb;
}

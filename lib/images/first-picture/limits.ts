/**
 * Limits on files, far above what cameras and tools write. A decoder's work grows with each of these, with some
 * quadratically.
 */
export const FILE_LIMITS = {
  /** Bytes of EXIF data, and of XMP data. */
  metadataBytes: 1 << 20,
  /** Chunks of a PNG with its pixels; tools write 8 KiB or more into each. */
  pngImageChunks: 1_000_000,
  /** Other chunks of a PNG. */
  pngChunks: 100_000,
  /** Segments of a JPEG other than scans, and blocks before the first frame of a GIF. */
  segments: 10_000,
  /** Scans of a JPEG; progressive images have about ten. */
  scans: 500,
  /** Scans times pixels of a JPEG: each scan may touch every coefficient again. */
  scannedPixels: 2 ** 32,
  /** Chunks of a WebP; each frame is one. */
  webpChunks: 20_000,
  /** Tags of a TIFF's first directory. */
  tiffTags: 4096,
  /** Strips or tiles of a TIFF. */
  tiffParts: 1_000_000,
  /** Bytes of a TIFF's strips or tiles that are more than the file has: the decoder reads shared ones again and again. */
  tiffSharedBytes: 1 << 28,
  /** Samples per pixel of a TIFF. */
  tiffSamples: 8,
  /** Boxes of an AVIF or HEIC file, at all levels. */
  boxes: 10_000,
  /** Levels of boxes within boxes. */
  boxDepth: 16,
  /** Items of an AVIF or HEIC file, and references between them. */
  items: 1000,
} as const;

/** An image that must not be decoded; the message continues a sentence that begins with the image's name. */
export class Refusal extends Error {}

/** Throws if a count exceeds its limit; `what` is a plural: "scans". */
export function checkCount(count: number, most: number, what: string): void {
  if (count > most) throw new Refusal(`has more than ${most} ${what}`);
}

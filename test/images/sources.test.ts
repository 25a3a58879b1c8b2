import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { type ImageSource, loadImage, RgbImage } from "../../lib/images/index.js";
import { expectError, noise, recordedBytes, recordedPath } from "./fixtures.js";

const folder = mkdtempSync(join(tmpdir(), "ip2p-sources-"));
afterAll(() => rmSync(folder, { recursive: true }));
const bytes = recordedBytes("rgb.png");
const image = await loadImage(bytes);

describe("every kind of source gives the same image", () => {
  const path = recordedPath("rgb.png");
  const odd = join(folder, "ein Bild ü#%20?.png");
  copyFileSync(path, odd);
  const sources: Record<string, ImageSource> = {
    "a path": path,
    "a path with odd characters": odd,
    "a file URL": pathToFileURL(odd),
    "a file URL as a string": pathToFileURL(path).href,
    "a Uint8Array": new Uint8Array(bytes),
    "a view into a larger buffer": new Uint8Array([0, 1, ...bytes, 9]).subarray(2, 2 + bytes.length),
    "an ArrayBuffer": new Uint8Array(bytes).buffer,
    "a data URL": `data:image/png;base64,${bytes.toString("base64")}`,
    "a data URL with escapes": `data:;BASE64,${encodeURIComponent(bytes.toString("base64"))}`,
    "a data URL without base64": `data:image/png,${[...bytes].map((b) => `%${b.toString(16).padStart(2, "0")}`).join("")}`,
    "a sharp instance": sharp(path),
    "an RgbImage": image,
  };
  it.each(Object.entries(sources))("%s", async (_, source) => {
    expect((await loadImage(source)).equals(image)).toBe(true);
  });

  it.runIf(process.platform !== "win32")("a pipe", async () => {
    const fifo = join(folder, "fifo.png");
    execFileSync("mkfifo", [fifo]);
    const loading = loadImage(fifo);
    await writeFile(fifo, bytes);
    expect((await loading).equals(image)).toBe(true);
  });
});

describe("a sharp instance", () => {
  it("is rendered with the caller's operations and stays usable", async () => {
    const pipeline = sharp(recordedPath("rgba.png")).extract({ left: 2, top: 1, width: 4, height: 3 });
    const result = await RgbImage.fromSharp(pipeline);
    expect([result.width, result.height]).toEqual([4, 3]);
    expect((await RgbImage.fromSharp(pipeline)).equals(result)).toBe(true);
  });

  it("is turned upright and converted from gray to RGB", async () => {
    expect((await loadImage(sharp(recordedPath("exif-6.jpg")))).height).toBe(13);
    const gray = await loadImage(sharp(recordedPath("rgb.png")).extractChannel("green"));
    expect(gray.data).toEqual(image.data.map((_, i) => image.data[i - (i % 3) + 1]!));
  });

  it("that fails is an ERR_IMAGE", async () => {
    await expectError(loadImage(sharp(join(folder, "absent.png"))), "ERR_IMAGE", /sharp pipeline failed.*absent/);
  });

  it("obeys the pixel limit", async () => {
    await expectError(loadImage(sharp(bytes).resize(90, 90), { maxPixels: 8000 }), "ERR_IMAGE", /90×90.*8000/);
  });
});

describe("unreadable sources are named", () => {
  it.each([
    ["a missing file", join(folder, "absent.png"), "ERR_FILE_NOT_FOUND", /the image ".*absent\.png" does not exist/],
    ["a missing file URL", pathToFileURL(join(folder, "absent.png")), "ERR_FILE_NOT_FOUND", /absent\.png/],
    ["a path through a file", join(recordedPath("rgb.png"), "x.png"), "ERR_FILE_NOT_FOUND", /rgb\.png/],
    ["a folder", folder, "ERR_IMAGE", /ip2p-sources.* is a folder/],
    ["a path with a zero byte", "a\0b.png", "ERR_IMAGE", /cannot be read/],
    ["an empty string", "", "ERR_INVALID_ARGUMENT", /path of the image is empty/],
    ["an FTP URL", "ftp://example.org/a.png", "ERR_INVALID_ARGUMENT", /ftp: URL/],
    ["an S3 URL", new URL("s3://bucket/a.png"), "ERR_INVALID_ARGUMENT", /s3: URL/],
    ["a URL without a host", "http://", "ERR_INVALID_ARGUMENT", /not a valid URL/],
    ["a file URL on another host", "file://elsewhere/a.png", "ERR_INVALID_ARGUMENT", /does not name a file/],
    ["a data URL without data", "data:image/png;base64,", "ERR_IMAGE", /data URL is empty/],
    ["a data URL without a comma", "data:image/png", "ERR_IMAGE", /no comma/],
    ["a number", 5 as never, "ERR_INVALID_ARGUMENT", /an image is a path/],
    ["null", null as never, "ERR_INVALID_ARGUMENT", /an image is a path/],
  ] as const)("%s", async (_, source, code, message) => {
    await expectError(loadImage(source), code, message);
  });

  it.runIf(process.platform !== "win32" && process.getuid?.() !== 0)("a file without permission", async () => {
    const path = join(folder, "secret.png");
    writeFileSync(path, bytes);
    chmodSync(path, 0);
    await expectError(loadImage(path), "ERR_IMAGE", /secret\.png.*permission denied/);
  });
});

describe("limits and switches", () => {
  it("maxPixels refuses before decoding, naming the size", async () => {
    await expectError(loadImage(bytes, { maxPixels: 129 }), "ERR_IMAGE", /13×10 pixels.*129/);
    expect((await loadImage(bytes, { maxPixels: 130 })).width).toBe(13);
  });

  it.runIf(process.platform === "linux")("maxBytes stops an endless file", async () => {
    await expectError(loadImage("/dev/zero", { maxBytes: 1e6 }), "ERR_IMAGE", /"\/dev\/zero" has more bytes.*1000000/);
  });

  it("maxBytes applies to buffers and data URLs", async () => {
    await expectError(loadImage(bytes, { maxBytes: 20 }), "ERR_IMAGE", /limit of 20/);
    const url = `data:image/png;base64,${bytes.toString("base64")}`;
    await expectError(loadImage(url, { maxBytes: 20 }), "ERR_IMAGE", /limit of 20/);
  });

  it("allowFiles: false refuses paths and file URLs but not data", async () => {
    const path = recordedPath("rgb.png");
    for (const source of [path, pathToFileURL(path), pathToFileURL(path).href])
      await expectError(
        loadImage(source, { allowFiles: false }),
        "ERR_INVALID_ARGUMENT",
        /file URLs are not allowed here/,
      );
    expect((await loadImage(bytes, { allowFiles: false })).equals(image)).toBe(true);
  });

  it.each([{ maxPixels: 0 }, { maxBytes: 1.5 }, { timeoutMs: -1 }, { timeoutMs: 2 ** 40 }])("refuses %o", async (o) => {
    await expectError(
      loadImage(bytes, o),
      "ERR_INVALID_ARGUMENT",
      new RegExp(`${Object.keys(o)[0]} is a whole number`),
    );
  });

  it("an abort rejects at once, before and while decoding", async () => {
    await expectError(loadImage(bytes, { signal: AbortSignal.abort() }), "ERR_ABORTED", /aborted/);
    const large = await new RgbImage(1500, 1500, noise(1, 1500 * 1500 * 3)).encode("png");
    const controller = new AbortController();
    const loading = loadImage(large, { signal: controller.signal });
    setImmediate(() => controller.abort(new Error("enough")));
    await expectError(loading, "ERR_ABORTED", /aborted/);
  });

  it("bytes may be changed after loading has started", async () => {
    const copy = new Uint8Array(bytes);
    const loading = loadImage(copy);
    copy.fill(0);
    expect((await loading).equals(image)).toBe(true);
  });
});

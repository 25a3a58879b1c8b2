import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IMAGE_FORMATS, type ImageFormat, imageGrid, loadImage, RgbImage } from "../../lib/images/index.js";
import { expectError, noise, recordedPath } from "./fixtures.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-save-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const scene = await loadImage(recordedPath("rgb.png"));

describe("RgbImage.save", () => {
  it.each([
    ["a.png", "png"],
    ["a.jpg", "jpeg"],
    ["a.JPEG", "jpeg"],
    ["a.webp", "webp"],
    ["a.avif", "heif"],
    ["a.tif", "tiff"],
    ["a b.TIFF", "tiff"],
    ["ü.gif", "gif"],
  ])("writes %s as %s, and nothing else", async (name, format) => {
    await scene.save(join(folder, name));
    const { format: found, width, height } = await sharp(readFileSync(join(folder, name))).metadata();
    expect([found, width, height]).toEqual([format, 13, 10]);
    expect(readdirSync(folder)).toEqual([name]);
  });

  it.each(["png", "tiff"])("keeps every pixel in %s, and in lossless WebP and AVIF", async (extension) => {
    for (const [name, options] of [
      [`a.${extension}`, {}],
      ["a.webp", { lossless: true }],
      ["a.avif", { lossless: true }],
    ] as const) {
      await scene.save(join(folder, name), options);
      expect((await loadImage(join(folder, name))).equals(scene), name).toBe(true);
    }
  });

  it("a higher quality makes a larger JPEG, closer to the image", async () => {
    const image = new RgbImage(64, 64, noise(1, 64 * 64 * 3));
    const distance = async (quality: number) => {
      const encoded = await image.encode("jpeg", { quality });
      const { data } = await loadImage(encoded);
      return { bytes: encoded.length, error: data.reduce((sum, v, i) => sum + Math.abs(v - image.data[i]!), 0) };
    };
    const [low, high] = [await distance(20), await distance(95)];
    expect(low.bytes).toBeLessThan(high.bytes);
    expect(low.error).toBeGreaterThan(high.error);
  });

  it.each(["a", "a.bmp", "a.svg", ".png", "a.png.txt", "a."])("refuses the name %s", async (name) => {
    await expectError(scene.save(join(folder, name)), "ERR_IMAGE", /cannot tell how to encode.*\.png, \.jpg/);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("refuses a folder that does not exist, and does not create it", async () => {
    const path = join(folder, "no", "a.png");
    await expectError(scene.save(path), "ERR_IO", /cannot write ".*a\.png": the folder ".*no" does not exist/);
    expect(existsSync(join(folder, "no"))).toBe(false);
  });

  it("refuses a folder as the file, and a file as the folder", async () => {
    mkdirSync(join(folder, "a.png"));
    await expectError(scene.save(join(folder, "a.png")), "ERR_IO", /it is a folder/);
    writeFileSync(join(folder, "file"), "x");
    await expectError(scene.save(join(folder, "file", "a.png")), "ERR_IO", /is not a folder/);
    expect(readdirSync(folder).sort()).toEqual(["a.png", "file"]);
  });

  it("replaces a file atomically, and keeps its mode", async () => {
    const path = join(folder, "a.png");
    await scene.save(path);
    if (process.platform !== "win32") chmodSync(path, 0o640);
    const before = readFileSync(path);
    const larger = await new RgbImage(600, 600, noise(2, 600 * 600 * 3)).encode("png");
    const saving = new RgbImage(600, 600, noise(2, 600 * 600 * 3)).save(path);
    let done = false;
    void saving.finally(() => (done = true));
    while (!done) {
      const seen = readFileSync(path);
      expect(seen.equals(before) || seen.equals(larger)).toBe(true);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await saving;
    expect(readFileSync(path).equals(larger)).toBe(true);
    if (process.platform !== "win32") expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  it.runIf(process.platform !== "win32")("writes through a symbolic link", async () => {
    symlinkSync(join(folder, "real.png"), join(folder, "link.png"));
    writeFileSync(join(folder, "real.png"), "old");
    await scene.save(join(folder, "link.png"));
    expect(lstatSync(join(folder, "link.png")).isSymbolicLink()).toBe(true);
    expect((await loadImage(join(folder, "real.png"))).equals(scene)).toBe(true);
  });

  it.runIf(process.platform === "linux")("writes into a device without replacing it", async () => {
    symlinkSync("/dev/null", join(folder, "null.png"));
    await scene.save(join(folder, "null.png"));
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  it.runIf(existsSync("/dev/full"))("a full disk is an ERR_IO that names the cause", async () => {
    symlinkSync("/dev/full", join(folder, "full.png"));
    await expectError(scene.save(join(folder, "full.png")), "ERR_IO", /the disk is full/);
  });
});

describe("RgbImage.encode", () => {
  it.each([0, 101, 1.5, Number.NaN])("refuses the quality %s", async (quality) => {
    await expectError(scene.encode("jpeg", { quality }), "ERR_INVALID_ARGUMENT", /quality is a whole number/);
  });

  it("refuses an unknown format", async () => {
    await expectError(scene.encode("bmp" as ImageFormat), "ERR_INVALID_ARGUMENT", /"bmp".*png/);
  });

  it("refuses images that a format cannot hold, naming size and format", async () => {
    const wide = new RgbImage(70_000, 1, new Uint8Array(210_000));
    for (const format of IMAGE_FORMATS)
      if (format === "png" || format === "tiff") await wide.encode(format);
      else await expectError(wide.encode(format), "ERR_IMAGE", new RegExp(`70000×1 pixels cannot be .* ${format}`));
  });
});

describe("RgbImage", () => {
  it.each([
    [0, 1, 0],
    [2, 2, 11],
    [2, 2, 13],
    [1.5, 2, 9],
    [-1, -1, 3],
    [Number.NaN, 1, 3],
  ])("refuses %s×%s with %s bytes", (width, height, length) => {
    expect(() => new RgbImage(width, height, new Uint8Array(length))).toThrow(/image/);
  });

  it("compares sizes and pixels", () => {
    const one = new RgbImage(2, 1, Uint8Array.of(1, 2, 3, 4, 5, 6));
    expect(one.equals(new RgbImage(2, 1, Uint8Array.of(1, 2, 3, 4, 5, 6)))).toBe(true);
    expect(one.equals(new RgbImage(1, 2, Uint8Array.of(1, 2, 3, 4, 5, 6)))).toBe(false);
    expect(one.equals(new RgbImage(2, 1, Uint8Array.of(1, 2, 3, 4, 5, 7)))).toBe(false);
  });

  it("becomes a sharp pipeline and comes back", async () => {
    expect((await RgbImage.fromSharp(scene.toSharp())).equals(scene)).toBe(true);
    const mirrored = await RgbImage.fromSharp(scene.toSharp().flop());
    expect(mirrored.equals(scene)).toBe(false);
    expect((await RgbImage.fromSharp(mirrored.toSharp().flop())).equals(scene)).toBe(true);
  });
});

describe("imageGrid", () => {
  const filled = (width: number, height: number, value: number) =>
    new RgbImage(width, height, new Uint8Array(width * height * 3).fill(value));
  const red = (image: RgbImage) =>
    Array.from({ length: image.height }, (_, y) =>
      Array.from({ length: image.width }, (_, x) => image.data[(y * image.width + x) * 3]),
    );

  it("puts images side by side", () => {
    expect(red(imageGrid([filled(2, 1, 1), filled(2, 1, 2)]))).toEqual([[1, 1, 2, 2]]);
  });

  it("breaks rows, keeps gaps and centres smaller images", () => {
    const grid = imageGrid([filled(3, 3, 1), filled(1, 1, 2), filled(3, 1, 3)], { columns: 2, gap: 1 });
    expect(red(grid)).toEqual([
      [1, 1, 1, 255, 255, 255, 255],
      [1, 1, 1, 255, 255, 2, 255],
      [1, 1, 1, 255, 255, 255, 255],
      [255, 255, 255, 255, 255, 255, 255],
      [255, 255, 255, 255, 255, 255, 255],
      [3, 3, 3, 255, 255, 255, 255],
      [255, 255, 255, 255, 255, 255, 255],
    ]);
  });

  it("fills with a colour", () => {
    const grid = imageGrid([filled(1, 1, 7), filled(1, 1, 7)], { gap: 1, background: [10, 20, 30] });
    expect([...grid.data]).toEqual([7, 7, 7, 10, 20, 30, 7, 7, 7]);
  });

  it("refuses no images and impossible layouts", () => {
    expect(() => imageGrid([])).toThrow(/at least one image/);
    expect(() => imageGrid([filled(1, 1, 1)], { columns: 0 })).toThrow(/columns/);
    expect(() => imageGrid([filled(1, 1, 1)], { gap: -1 })).toThrow(/gap/);
  });
});

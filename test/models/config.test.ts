import { execFileSync } from "node:child_process";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { parseObject, readConfig } from "../../lib/files/config.js";
import { someOf } from "../helpers/cases.js";
import { mutatedText } from "./mutated-text.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ip2p-config-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(content: string | Uint8Array): Promise<string> {
  const path = join(folder, "config.json");
  await writeFile(path, content);
  return path;
}

const read = async (content: string | Uint8Array) => readConfig(await write(content));

describe("a configuration", () => {
  test("is read as Python reads it", async () => {
    const text = `\r\n{"a": NaN, "b": [Infinity, -Infinity, -0.5e-3], "c": {"d": null, "e": [true, false], "f": "\\u00e9\\ud83d\\ude00\\n"},
      "lambda_min_clipped": -Infinity, "twice": 1, "twice": 2, "": {}, "empty": []}\t\n`;
    expect(await read(text)).toEqual({
      a: Number.NaN,
      b: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0.0005],
      c: { d: null, e: [true, false], f: "é😀\n" },
      lambda_min_clipped: Number.NEGATIVE_INFINITY,
      twice: 2,
      "": {},
      empty: [],
    });
  });

  test("cannot reach a prototype", async () => {
    const config = await read('{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}');
    expect(Object.keys(config)).toEqual(["__proto__", "constructor"]);
    expect(config.polluted).toBeUndefined();
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test.each([
    ['{"a": 1,}', 1, 9],
    ['{"a": 1\n "b": 2}', 2, 2],
    ['{"a": [1, 2}', 1, 12],
    ['{\n\n  "a": nul}', 3, 8],
    ['{"a": 01}', 1, 8],
    ['{"a": "b\nc"}', 1, 9],
    ['{"a": "\\x"}', 1, 8],
    ["{'a': 1}", 1, 2],
    ['{"a": 1} {', 1, 10],
    ['{"a": -NaN}', 1, 7],
    ['\ufeff{"a": 1}', 1, 1],
    ["", 1, 1],
    ['{"a": /* one */ 1}', 1, 7],
  ])("that is not JSON is refused with its place: %j", async (text, line, column) => {
    const path = await write(text);
    await expect(readConfig(path)).rejects.toMatchObject({ code: "ERR_CONFIG" });
    await expect(readConfig(path)).rejects.toThrow(`${path}: is not valid JSON: `);
    await expect(readConfig(path)).rejects.toThrow(`(line ${line}, column ${column})`);
  });

  test.each(["null", "[]", '"a"', "1", "true"])("that is not an object is refused: %s", async (text) => {
    await expect(read(text)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("not a JSON object"),
    });
  });

  test("nested without end is refused", async () => {
    for (const depth of [257, 1000, 1_000_000])
      await expect(read(`{"a":${"[".repeat(depth)}`)).rejects.toThrow(/nested more than 256 deep/);
  });

  test("that is not UTF-8 is refused", async () => {
    for (const bytes of [[0x7b, 0xff, 0x7d], [0xc3], [0xff, 0xfe, 0x7b, 0, 0x7d, 0]])
      await expect(read(Uint8Array.from(bytes))).rejects.toMatchObject({
        code: "ERR_CONFIG",
        message: `${join(folder, "config.json")}: is not valid UTF-8`,
      });
  });

  test("of any size is refused before it is read", async () => {
    const path = await write("{}");
    await truncate(path, 2 ** 40);
    await expect(readConfig(path)).rejects.toThrow(/more than the allowed/);
  });

  test("that is absent or no file is named", async () => {
    const absent = join(folder, "absent", "config.json");
    await expect(readConfig(absent)).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: expect.stringContaining(absent),
    });
    await expect(readConfig(folder)).rejects.toMatchObject({ code: "ERR_IO", message: `${folder}: is a folder` });
    await expect(readConfig("a\0b")).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  });

  test.skipIf(process.platform === "win32")("that is a pipe is refused without waiting", async () => {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    await expect(readConfig(pipe)).rejects.toMatchObject({ code: "ERR_IO" });
  });

  test("of any text is an object or a typed error of one line", () => {
    const seed =
      '{"_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "lambda_min_clipped": -Infinity, "trained_betas": null, "block_out_channels": [320, 640], "sample": {"x": [true, "\\u00e9"]}}';
    let objects = 0;
    fc.assert(
      fc.property(mutatedText(seed), (text) => {
        try {
          const value = parseObject(text, "config.json");
          expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
          ++objects;
        } catch (error) {
          expect(error).toBeInstanceOf(InstructPix2PixError);
          expect((error as InstructPix2PixError).code).toBe("ERR_CONFIG");
          expect((error as Error).message).toMatch(/^config\.json: [^\n\r]+$/);
        }
      }),
      { numRuns: someOf(10_000), seed: 1 },
    );
    expect(objects).toBeGreaterThan(someOf(100));
    expect(objects).toBeLessThan(someOf(9_900));
  });
});

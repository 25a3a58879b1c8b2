import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { readCardConfigs } from "../../lib/data/dataset-card.js";
import { matchPatterns, parseGlob } from "../../lib/data/glob.js";
import { readMetadata } from "../../lib/data/metadata/read.js";
import { openParquet } from "../../lib/data/parquet/file.js";
import { matching, parseShellPattern } from "../../lib/hub/patterns.js";
import { placeOf } from "../../lib/runtime/libtorch/layout.js";
import { decodeTokens } from "../../lib/tokenizer/decode.js";
import { TokenTrie } from "../../lib/tokenizer/token-trie.js";
import { Secrets } from "../../lib/tracking/secrets.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { useScratch } from "./helpers.js";

const scratch = useScratch();
const refusal = (message: RegExp) =>
  expect.objectContaining({ code: "ERR_DATASET", message: expect.stringMatching(message) });

describe("patterns", () => {
  test("match what fsspec and fnmatch match", () => {
    type Row = [pattern: string, names: string[], glob: number[] | null, shell: number[]];
    for (const [pattern, names, glob, shell] of readJson<Row[]>(fixture("data", "globs.json"))) {
      const found = (test: (name: string) => boolean) => names.flatMap((name, i) => (test(name) ? [i] : []));
      const shellPattern = parseShellPattern(pattern);
      expect(
        found((name) => shellPattern.test(name)),
        pattern,
      ).toEqual(shell);
      if (glob === null) expect(() => parseGlob(pattern), pattern).toThrow(refusal(/whole part/));
      else {
        const parsed = parseGlob(pattern);
        expect(
          found((name) => parsed.test(name)),
          pattern,
        ).toEqual(glob);
      }
    }
  });

  test.each(["*a".repeat(40), "**/".repeat(40), "[a-z]*".repeat(40), "**/*a/".repeat(40)])(
    "take linear work: %s",
    (start) => {
      const name = `${"a/".repeat(50)}${"a".repeat(180)}b`;
      for (const pattern of [parseGlob(`${start}b?`), parseShellPattern(`${start}b?`)]) {
        expect(pattern.test(name)).toBe(false);
        expect(pattern.work).toBeLessThan((2 * start.length + 4) * (name.length + 1));
      }
    },
  );

  test("have limits in number, length and work", () => {
    expect(() => matchPatterns(["a"], ["a".repeat(2000)])).toThrow(refusal(/more than 1024 characters/));
    expect(() => matchPatterns(["a"], new Array(10_001).fill("*"))).toThrow(refusal(/10001 patterns/));
    expect(() => matching(["a"], [`${"*".repeat(2000)}`])).toThrow(/more than 1024/);
    const names = Array.from({ length: 2000 }, (_, i) => `${"a".repeat(500)}b${i}`);
    expect(() => matchPatterns(names, [`${"*a".repeat(400)}*b?x*`, `${"*a".repeat(400)}*b*[!0-9]`])).toThrow(
      refusal(/too many to be matched/),
    );
  });
});

describe("text of data sets", () => {
  const read = async (name: string, content: string | Buffer) => {
    const path = join(await scratch.folder({}), name);
    await writeFile(path, content);
    for await (const slice of readMetadata(path, ["a"])) void slice;
  };

  test("with many keys or columns is read, or refused by a limit", async () => {
    const keys = Array.from({ length: 30_000 }, (_, i) => `k${i}: 1`).join("\n");
    expect(readCardConfigs(`---\n${keys}\n---\n`, "x")).toEqual([]);
    expect(() => readCardConfigs(`---\n${keys}\nk7: 2\n---\n`, "x")).toThrow(refusal(/has the key "k7" twice/));
    await expect(read("metadata.csv", `${"a,".repeat(60_000)}a\n`)).rejects.toEqual(refusal(/60001 columns/));
  });

  test("of JSON lines is not nested deep, brackets in strings aside", async () => {
    const nested = (levels: number) => `{"a":${"[".repeat(levels)}${"]".repeat(levels)}}\n`;
    await expect(read("metadata.jsonl", nested(256))).rejects.toEqual(refusal(/line 1: is nested too deep/));
    await read("metadata.jsonl", `${nested(255)}{"a":"${'\\"['.repeat(300)}"}\n`);
  });

  test("of parquet files holds no numbers without an end", async () => {
    const column = { name: "a", data: ["text of some length", "another"] };
    const bytes = Buffer.from(parquetWriteBuffer({ columnData: [column] }));
    const path = join(await scratch.folder({ "metadata.parquet": bytes }), "metadata.parquet");
    const { metadata, close } = await openParquet(path);
    await close();
    const number = Buffer.concat([Buffer.of(0x16), Buffer.alloc(11, 0xff)]);
    const head = Number(metadata.row_groups[0]!.columns[0]!.meta_data!.data_page_offset);
    const footer = bytes.length - 8 - metadata.metadata_length;
    const too = refusal(/a number of more than 64 bits/);
    for (const place of [head, footer]) {
      const hostile = Buffer.from(bytes);
      number.copy(hostile, place);
      await expect(read("metadata.parquet", hostile)).rejects.toEqual(too);
    }
  });

  test.each([
    ["nesting", `a: ${"[".repeat(200)}${"]".repeat(200)}`, /nested|malformed/],
    ["keys that are objects", "? ".repeat(600), /nested|malformed/],
    // Each would meet the end of the stack within the parser, some in a way that ends the process.
    ...["- ", "[", "{", "? ", "a: {"].map((level): [string, string, RegExp] => [
      `deep nesting by ${level}`,
      level.repeat(500_000 / level.length),
      /nested too deep/,
    ]),
    ["aliases", `a: &a 1\nb: [${"*a,".repeat(101)}]`, /more than 100 aliases/],
    ["size", `a: ${"x".repeat(600_000)}`, /more than the allowed/],
  ])("has limits: %s", (_, yaml, message) => {
    expect(() => readCardConfigs(`---\n${yaml}\n---\n`, "x")).toThrow(refusal(message));
  });

  test("neither leaks secrets nor takes long", () => {
    const secrets = new Secrets([], []);
    expect(secrets.redact(`${"a.".repeat(500_000)}x://u:p@h@host hf_${"a".repeat(30)}_x`)).toMatch(
      /x:\/\/\*\*\*@host \*\*\*_x$/,
    );
  });

  test("is decoded, and names are placed, in time proportional to their length", () => {
    const gap = " ".repeat(300_000);
    expect(decodeTokens([gap, "a", gap, "b", gap])).toBe(`a${gap}b`);
    const selection = { cpuHalfOnly: true };
    expect(placeOf(`nvidia/lib/${"cudart".repeat(5000)}${".so".repeat(5000)}/x`, selection)).toBeUndefined();
    expect(placeOf(`a.dist-info/${"LICENSE".repeat(100_000)}/x`, selection)).toBeUndefined();
    expect(placeOf(`${".dist-info".repeat(100_000)}x/METADATA`, selection)).toBeUndefined();
    expect(placeOf("a-1.dist-info/licenses/b/NOTICE.txt", selection)).toBe("licenses/a-1/b/NOTICE.txt");
  });

  test("is searched for tokens from the left, the longest first", () => {
    const trie = new TokenTrie([
      ["a", 1],
      ["ab", 2],
      ["abcd", 3],
      ["b", 4],
      ["a", 5],
    ]);
    expect([...trie.find("abcxaabcd")].map(({ start, end, id }) => [start, end, id])).toEqual([
      [0, 2, 2],
      [4, 5, 1],
      [5, 9, 3],
    ]);
  });
});

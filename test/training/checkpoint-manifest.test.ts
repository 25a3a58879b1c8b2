import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { formatManifest, parseManifest } from "../../lib/training/checkpoint/manifest.js";
import { someOf } from "../helpers/cases.js";

describe("a manifest from outside", () => {
  const hash = createHash("sha256").update("").digest("hex");

  /** A consistent manifest with any names. */
  const withNames = (...all: string[]) =>
    Buffer.from(
      formatManifest({
        packageVersion: "1",
        step: 1,
        files: new Map(all.map((name) => [name, { size: 0, sha256: hash }])),
      }),
    );

  const traversals = [
    ...["..", "../a", "a/../../b", "a/..", "./a", "a/./b", "/a", "//a", "a//b", "a/", "", ".", "/"],
    ...["..\\a", "a\\..\\b", "C:\\a", "C:a", "\\\\host\\share\\a", "\\\\?\\C:\\a", "a:stream", "file:///a"],
    ...["a\0b", "a\nb", "a\u007fb", "a.", "a /b", "... ", "a./b", "a<b", "a|b", "a?b", "a*b", 'a"b', "manifest.json"],
    ...["a".repeat(1025)],
  ];

  it.each(traversals)("cannot name %j", (name) => {
    expect(() => parseManifest(withNames(name), "m")).toThrowError(
      expect.objectContaining({ code: "ERR_CHECKPOINT", message: expect.stringContaining("is not a name for a file") }),
    );
  });

  it("can name what checkpoints hold", () => {
    const all = [
      "unet/model-00001-of-00002.safetensors",
      "random_states_0.json",
      "ünët/ein Name.json",
      "__proto__",
      "a..b",
    ];
    expect([...parseManifest(withNames(...all), "m").files.keys()].sort()).toEqual(all.sort());
  });

  const valid = JSON.parse(withNames("unet/a", "b").toString()) as Record<string, unknown>;
  const paths = [["format"], ["format_version"], ["package_version"], ["step"], ["files"], ["manifest_sha256"]];
  const inner = [
    ["files", "b"],
    ["files", "b", "size"],
    ["files", "b", "sha256"],
  ];

  it("that is mutated is read as the same or refused with a typed error", () => {
    const text = JSON.stringify(valid);
    const mutant = fc.oneof(
      // A value of another kind anywhere, with or without its key.
      fc
        .tuple(fc.constantFrom(...paths, ...inner), fc.option(fc.jsonValue(), { nil: undefined }))
        .map(([path, value]) => {
          const copy = structuredClone(valid);
          const parent = path
            .slice(0, -1)
            .reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, copy);
          if (value === undefined) delete parent[path.at(-1)!];
          else parent[path.at(-1)!] = value;
          return Buffer.from(JSON.stringify(copy));
        }),
      // Bytes changed, cut off, or inserted.
      fc
        .tuple(fc.nat(text.length - 1), fc.nat(255), fc.constantFrom("change", "cut", "insert"))
        .map(([at, byte, kind]) => {
          const bytes = Buffer.from(text);
          if (kind === "cut") return bytes.subarray(0, at);
          if (kind === "insert") return Buffer.concat([bytes.subarray(0, at), Buffer.of(byte), bytes.subarray(at)]);
          bytes[at] = byte;
          return bytes;
        }),
      fc.json().map((json) => Buffer.from(json)),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.dictionary(fc.string(), fc.record({ size: fc.anything(), sha256: fc.string() })).map((files) => {
        const stringifiable = JSON.parse(JSON.stringify(files, (_, v) => (typeof v === "bigint" ? String(v) : v)));
        return Buffer.from(
          formatManifest({ packageVersion: "1", step: 1, files: new Map(Object.entries(stringifiable)) }),
        );
      }),
    );
    const original = parseManifest(Buffer.from(text), "m");
    let refused = 0;
    fc.assert(
      fc.property(mutant, (bytes) => {
        try {
          const { files, step } = parseManifest(bytes, "m");
          if (files.has("unet/a")) expect({ files, step }).toEqual({ files: original.files, step: original.step });
        } catch (error) {
          refused++;
          expect(isInstructPix2PixError(error, "ERR_CHECKPOINT"), String((error as Error).stack)).toBe(true);
          expect((error as Error).message).toMatch(/^m: [^\n]+$/);
        }
      }),
      { numRuns: someOf(10_000), seed: 1 },
    );
    expect(refused).toBeGreaterThan(someOf(5000));
  });
});

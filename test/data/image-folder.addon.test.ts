import { readFileSync } from "node:fs";
import { copyFile, cp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createLoader } from "../../lib/data/loader.js";
import { fixture } from "../helpers/fixtures.js";
import { line, loadAll, MIXED, picture, promptsOf, useScratch } from "./helpers.js";

const scratch = useScratch();
const refusal = (message: RegExp) => ({ code: "ERR_DATASET", message: expect.stringMatching(message) });

/** A folder of two images with this metadata. */
const folderOf = (metadata: string, name = "metadata.jsonl") =>
  scratch.folder({ "a.png": picture("0_i.png"), "b.png": picture("2_e.png"), [name]: metadata });

describe("metadata", () => {
  test("in plain columns of relative paths work as those in *_file_name keys", async () => {
    const root = await folderOf('{"input_image":"a.png","edited_image":"./b.png","edit_prompt":"x"}');
    const marked = await folderOf(line("a.png", "b.png", "x"));
    const [plain, expected] = [
      await scratch.open({ trainDataDir: root }),
      await scratch.open({ trainDataDir: marked }),
    ];
    expect(plain.columns).toEqual(["input_image", "edited_image", "edit_prompt"]);
    expect(await loadAll(plain)).toEqual(await loadAll(expected));
  });

  test("name the column image by file_name", async () => {
    const root = await folderOf('{"file_name":"a.png","after_file_name":"b.png","caption":"x","id":3}');
    const options = { originalImageColumn: "image", editedImageColumn: "after", editPromptColumn: "caption" };
    const dataset = await scratch.open({ trainDataDir: root, ...options });
    expect(dataset.columns).toEqual(["image", "after", "caption", "id"]);
    expect((await loadAll(dataset)).prompts).toEqual(["x"]);
    await expect(scratch.open({ trainDataDir: root })).rejects.toMatchObject(
      refusal(
        /no column "input_image"; set originalImageColumn to one of those it has: "image", "after", "caption", "id"/,
      ),
    );
    const wrong = { ...options, editPromptColumn: "edit_prompt" };
    await expect(scratch.open({ trainDataDir: root, ...wrong })).rejects.toMatchObject(
      refusal(/no column "edit_prompt"; set editPromptColumn/),
    );
  });

  test("may be CSV: quotes, line breaks in values, a byte order mark, CRLF", async () => {
    const csv =
      "\ufeffinput_image_file_name,edit_prompt,edited_image_file_name\r\n" +
      'a.png,"he said ""hi"", then\r\nleft",b.png\r\n\r\nb.png, 雪 ,a.png\r\na.png,,b.png\r\n';
    const dataset = await scratch.open({ trainDataDir: await folderOf(csv, "metadata.csv") });
    expect(await promptsOf(dataset)).toEqual(['he said "hi", then\r\nleft', " 雪 ", null]);
    expect([0, 1, 2].map((i) => dataset.describe(i))).toEqual([
      "metadata.csv, line 2",
      "metadata.csv, line 5",
      "metadata.csv, line 6",
    ]);
  });

  test("may be parquet", async () => {
    const root = await scratch.folder({
      images: { copy: join(MIXED, "images") },
      "metadata.parquet": { copy: fixture("data", "mixed", "named", "strings.parquet") },
    });
    const [dataset, expected] = [
      await scratch.open({ trainDataDir: root }),
      await scratch.open({ trainDataDir: MIXED }),
    ];
    expect(dataset.describe(2)).toBe("metadata.parquet, row 2");
    expect(await loadAll(dataset)).toEqual(await loadAll(expected));
  });

  test("in nested folders are relative to their own, in the order of their paths", async () => {
    const root = await scratch.folder({
      "metadata.jsonl": line("a.png", "b/c.png", "top"),
      "a.png": picture("0_i.png"),
      "b/metadata.jsonl": line("c.png", "c.png", "b 1") + line("../a.png", "c.png", "b 2"),
      "b/c.png": picture("2_e.png"),
      "a/z/metadata.jsonl": line("a.png", "a.png", "a z"),
      "a/z/a.png": picture("0_i.png"),
      ".hidden/metadata.jsonl": line("no.png", "no.png", "hidden"),
      "__pycache__/metadata.jsonl": line("no.png", "no.png", "special"),
    });
    const dataset = await scratch.open({ trainDataDir: root });
    expect(await promptsOf(dataset)).toEqual(["a z", "b 1", "b 2", "top"]);
    expect(dataset.describe(2)).toBe("b/metadata.jsonl, line 2");
    expect((await loadAll(dataset)).prompts).toHaveLength(4);
  });

  test("of other splits are left out, except in the reference mode", async () => {
    const root = await scratch.folder({
      "x.png": picture("0_i.png"),
      "test/x.png": picture("0_i.png"),
      "test/metadata.jsonl": line("x.png", "x.png", "test"),
      "train/metadata.jsonl": line("../x.png", "../x.png", "train"),
    });
    const open = (compat?: "diffusers") => scratch.open({ trainDataDir: root, compat });
    expect(await promptsOf(await open())).toEqual(["train"]);
    expect(await promptsOf(await open("diffusers"))).toEqual(["test", "train"]);
    // A folder of that name is not a split of itself.
    expect(await promptsOf(await scratch.open({ trainDataDir: join(root, "test") }))).toEqual(["test"]);
  });

  test("are read across blank lines and carriage returns, without a final newline", async () => {
    const [a, b] = [line("a.png", "b.png", "1"), line("b.png", "a.png", "2\u2028x").trim()];
    const dataset = await scratch.open({ trainDataDir: await folderOf(`\r\n${a.trim()}\r\n\n  \n${b}`) });
    expect(await promptsOf(dataset)).toEqual(["1", "2\u2028x"]);
    expect(dataset.describe(1)).toBe("metadata.jsonl, line 5");
  });

  test("of 30000 rows across the edges of read buffers keep their order", async () => {
    const rows = Array.from({ length: 30_000 }, (_, i) => line("a.png", "b.png", `${i} ${"é".repeat(i % 97)}`));
    const dataset = await scratch.open({ trainDataDir: await folderOf(rows.join("")), maxTrainSamples: 50, seed: 1 });
    expect(dataset.length).toBe(50);
    for (let i = 0; i < 50; i++) {
      const { prompt } = await dataset.row(i);
      const at = Number(prompt!.split(" ")[0]);
      expect(prompt).toBe(`${at} ${"é".repeat(at % 97)}`);
      expect(dataset.describe(i)).toBe(`metadata.jsonl, line ${at + 1}`);
    }
  });
});

describe("faults of a dataset", () => {
  const good = line("a.png", "b.png", "x");
  test.each<[string, string, string, RegExp]>([
    ["no rows", "metadata.jsonl", "\n", /holds? .*no rows|has no rows/],
    ["no header", "metadata.csv", "", /no header line/],
    ["a column twice in the header", "metadata.csv", "a,b,a\n1,2,3\n", /header names the column "a" twice/],
    [
      "semicolons",
      "metadata.csv",
      "input_image;edited_image;edit_prompt\na.png;b.png;x\n",
      /header "input_image;edited_image;edit_prompt" are separated by semicolons, not by commas: save/,
    ],
    ["tabs", "metadata.csv", "input_image\tedited_image\tedit_prompt\na.png\tb.png\tx\n", /separated by tabs, not by/],
    ["tabs in a file of their own", "metadata.tsv", "a\tb\n", /metadata\.tsv is not read: save it as metadata\.csv/],
    [
      "an open quote",
      "metadata.csv",
      'input_image,edited_image,edit_prompt\na.png,"b.png,x\n',
      /line 1: .*quote is never closed/,
    ],
    ["a list", "metadata.jsonl", "[\n{}\n]", /line 1: is malformed JSON/],
    ["a first line that is not JSON", "metadata.jsonl", "input_image,edited\n", /line 1: is malformed JSON/],
    [
      "one key twice",
      "metadata.jsonl",
      '{"edit_prompt":"x","edit_prompt":"y"}',
      /line 1: has the key "edit_prompt" twice/,
    ],
    [
      "one column by two keys",
      "metadata.jsonl",
      '{"input_image":"a.png","input_image_file_name":"a.png","edited_image":"b.png","edit_prompt":"x"}',
      /"input_image_file_name", "input_image" are both the column "input_image"/,
    ],
    ["not UTF-8", "metadata.jsonl", "\xff", /line 1/],
  ])("%s", async (_what, name, content, message) => {
    const root = await folderOf("", "unused.txt");
    await writeFile(join(root, name), content, "latin1");
    await expect(scratch.open({ trainDataDir: root })).rejects.toMatchObject(refusal(message));
  });

  test("metadata in two formats", async () => {
    const root = await scratch.folder({ "metadata.jsonl": good, "x/metadata.csv": "a,b\n" });
    await expect(scratch.open({ trainDataDir: root })).rejects.toMatchObject(
      refusal(/several formats \("metadata.jsonl", "x\/metadata.csv"\)/),
    );
  });

  test("images without metadata, no folder, a file", async () => {
    const root = await scratch.folder({ "a.png": picture("0_i.png") });
    await expect(scratch.open({ trainDataDir: root })).rejects.toMatchObject(refusal(/holds no metadata.jsonl/));
    await expect(scratch.open({ trainDataDir: join(root, "a.png") })).rejects.toMatchObject(refusal(/not a folder/));
    await expect(scratch.open({ trainDataDir: join(root, "none") })).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
    });
    for (const options of [
      {},
      { trainDataDir: "" },
      { datasetName: "" },
      { trainDataDir: root, maxTrainSamples: 0, seed: 1 },
    ])
      await expect(scratch.open(options)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  });

  test("broken records are skipped by name, and stop a strict run at once", async () => {
    const root = await folderOf(
      `${good}{"input_image_file_name":"a.png","edited_ima\n${good}[1]\n${line("a.png", "b.png", "y").replace('"y"', "5")}`,
    );
    const reasons: string[] = [];
    const dataset = await scratch.open({ trainDataDir: root });
    const { indices } = await loadAll(dataset, { onSkip: ({ reason }) => reasons.push(reason) });
    expect(indices).toEqual([0, 2]);
    expect(reasons).toEqual([
      expect.stringMatching(/^metadata.jsonl, line 2: is malformed JSON: a string without an end \(column \d+\)$/),
      "metadata.jsonl, line 4: is not a JSON object",
      "metadata.jsonl, line 5: edit_prompt is not text",
    ]);
    await expect(scratch.open({ trainDataDir: root, strict: true })).rejects.toMatchObject(
      refusal(/metadata.jsonl, line 2: is malformed JSON/),
    );
  });

  test("CSV records of another length are skipped by name", async () => {
    const root = await folderOf(
      "input_image,edited_image,edit_prompt\na.png,b.png\na.png,b.png,x\na.png,b.png,x,more\n",
      "metadata.csv",
    );
    const reasons: string[] = [];
    const { indices } = await loadAll(await scratch.open({ trainDataDir: root }), {
      onSkip: ({ reason }) => reasons.push(reason),
    });
    expect(indices).toEqual([1]);
    expect(reasons).toEqual([
      expect.stringMatching(/^metadata.csv, line 2: .* has 2 values, the header names 3 columns/),
      expect.stringMatching(/^metadata.csv, line 4: .* has 4 values/),
    ]);
  });

  test("a missing file is found by a strict run before it starts", async () => {
    const root = await folderOf(good + line("a.png", "sub/none.png", "y"));
    await expect(scratch.open({ trainDataDir: root, strict: true })).rejects.toMatchObject(
      refusal(/metadata.jsonl, line 2: the image "sub\/none.png" does not exist/),
    );
  });
});

test("opening any metadata gives rows or a typed error", async () => {
  const good = {
    "metadata.jsonl": Buffer.from(line("a.png", "b.png", "x").repeat(3)),
    "metadata.csv": Buffer.from('input_image,edited_image,edit_prompt\na.png,b.png,"x"\na.png,b.png,y\n'),
    "metadata.parquet": readFileSync(fixture("data", "mixed", "named", "strings.parquet")),
  };
  const root = await folderOf("", "unused.txt");
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...(Object.keys(good) as (keyof typeof good)[])),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.option(fc.nat()),
      async (name, changes, cut) => {
        const bytes = Buffer.from(good[name]);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        await writeFile(join(root, name), cut === null ? bytes : bytes.subarray(0, cut % bytes.length));
        try {
          const dataset = await scratch.open({ trainDataDir: root });
          expect(dataset.length).toBeGreaterThan(0);
          for (let i = 0; i < dataset.length; i++)
            await dataset.row(i).catch((error) => expect(error.code).toMatch(/^ERR_(DATASET|FILE_NOT_FOUND)$/));
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_DATASET" });
          expect((error as Error).message).not.toContain("\n");
        } finally {
          await rm(join(root, name));
        }
      },
    ),
    { numRuns: 300, seed: 11 },
  );
});

describe("names in metadata", () => {
  const inside = ["a.png", "./a.png", "sub/../a.png", "x/./../a.png", "sub\\..\\a.png", "b..png/../a.png"];
  const up = ["..", "../a.png", "../../etc/passwd", "sub/../../a.png", "./../a.png", "sub/../../../a.png", "..//a.png"];
  const outside = [
    ...up,
    ...up.map((name) => name.replaceAll("/", "\\")),
    ...up.map((name) => `deep/${"../".repeat(3)}${name}`),
    ...up.map((name) => `${name}/sub/..`),
    ...["/etc/passwd", "//etc/passwd", "/", "/a/../b", "\\etc\\passwd", "\\\\server\\share\\a.png", "//server/share"],
    ...["C:\\a.png", "C:/a.png", "c:a.png", "Z:", "\\\\?\\C:\\a.png", "\\\\.\\pipe\\x"],
    ...[
      "file:///etc/passwd",
      "http://localhost/a.png",
      "https://x/a.png",
      "hf://datasets/a/b/c.png",
      "local:///etc/passwd",
    ],
    ...["zip://a.png::b.zip", "s3://b/a.png", "a.png\0.txt", "\0", "ftp://x", "FILE:///etc/passwd", "x://y"],
    ...["..\\..\\a.png", "sub\\..\\..\\a.png", "sub/..\\../a.png", "....//..//../../a.png", "a/b/c/../../../../x"],
    ...["../dataset/../../a.png", "..%2f/../../a", "/proc/self/environ", "/dev/zero"],
  ];

  test.each(inside)("stay inside: %j", async (name) => {
    const dataset = await scratch.open({ trainDataDir: await folderOf(line(name, "b.png", "x")) });
    expect((await loadAll(dataset)).indices).toEqual([0]);
  });

  test("never lead out", async () => {
    expect(outside.length).toBeGreaterThanOrEqual(60);
    for (const name of outside)
      for (const strict of [false, true]) {
        const root = await folderOf(line("a.png", "b.png", "x") + line("a.png", name, "y"));
        await expect(scratch.open({ trainDataDir: root, strict }), name).rejects.toMatchObject(
          refusal(/metadata.jsonl, line 2: ".*" (is|leads)/),
        );
      }
  });

  test("may leave the folder through the user's own links, to files and folders", async () => {
    const store = await scratch.folder({ "1": picture("0_i.png"), "more/m.png": picture("0_i.png") });
    const root = await folderOf(line("a.png", "one.png", "file") + line("a.png", "folder/m.png", "folder"));
    await symlink(join(store, "1"), join(root, "one.png"));
    await symlink(join(store, "more"), join(root, "folder"));
    expect((await loadAll(await scratch.open({ trainDataDir: root, strict: true }))).prompts).toEqual([
      "file",
      "folder",
    ]);
    // Metadata below a link to a folder, as where a whole dataset is one.
    const outer = await scratch.folder({});
    await symlink(root, join(outer, "version"));
    expect((await loadAll(await scratch.open({ trainDataDir: outer }))).prompts).toEqual(["file", "folder"]);
  });

  test("that are dangling or circular links are named", async () => {
    const rows = ["gone.png", "round.png"].map((name) => line("a.png", name, "x")).join("");
    const root = await folderOf(line("a.png", "b.png", "x") + rows);
    await symlink(join(root, "nothing"), join(root, "gone.png"));
    await symlink("round.png", join(root, "round.png"));
    await symlink("..", join(root, "up"));
    await symlink(".", join(root, "self"));
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => warnings.push(message);
    process.on("warning", onWarning);
    const dataset = await scratch.open({ trainDataDir: root });
    await new Promise(setImmediate);
    process.off("warning", onWarning);
    expect(warnings).toEqual([
      expect.stringMatching(/broken and cyclic links are ignored.*"gone.png", "round.png", "self", "up"$/),
    ]);
    await expect(dataset.row(1)).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: expect.stringMatching(/"gone.png" is a link to .*nothing, which does not exist/),
    });
    await expect(dataset.row(2)).rejects.toThrow(/"round.png" is a link to round.png, which is a cyclic link/);
    await expect(scratch.open({ trainDataDir: root, strict: true })).rejects.toMatchObject(
      refusal(/line 2: image "gone.png" is a link to/),
    );
    await expect(scratch.open({ trainDataDir: join(root, "round.png") })).rejects.toThrow(/cyclic link/);
  });

  test("may be links within the folder, and the folder itself a link", async () => {
    const root = await folderOf(line("a.png", "link.png", "x"));
    await symlink("b.png", join(root, "link.png"));
    const alias = scratch.path();
    await symlink(root, alias);
    expect((await loadAll(await scratch.open({ trainDataDir: alias }))).indices).toEqual([0]);
  });

  test("of a snapshot in the Hugging Face cache lead to its contents and nowhere else", async () => {
    const secrets = await scratch.folder({ "secret.png": picture("0_i.png") });
    const snapshotOf = async (name: string) => {
      const cache = await scratch.folder({
        "datasets--a--b/blobs/1": picture("0_i.png"),
        "datasets--a--b/blobs/2": line(name, "x.png", "from the hub"),
        "datasets--a--b/snapshots/c0/unused": "",
      });
      const snapshot = join(cache, "datasets--a--b/snapshots/c0");
      await symlink("../../blobs/1", join(snapshot, "x.png"));
      await symlink("../../blobs/2", join(snapshot, "metadata.jsonl"));
      return snapshot;
    };
    const good = await snapshotOf("x.png");
    expect((await loadAll(await scratch.open({ trainDataDir: good }))).prompts).toEqual(["from the hub"]);
    for (const [link, target, name] of [
      ["link.png", join(secrets, "secret.png"), "link.png"],
      ["folder", secrets, "folder/secret.png"],
    ] as const) {
      const snapshot = await snapshotOf(name);
      await symlink(target, join(snapshot, link));
      await expect(scratch.open({ trainDataDir: snapshot }), name).rejects.toMatchObject(
        refusal(/metadata.jsonl, line 1: .* is a link that leads out of the dataset's folder/),
      );
    }
    const late = await snapshotOf("later.png");
    const dataset = await scratch.open({ trainDataDir: late });
    await symlink(join(secrets, "secret.png"), join(late, "later.png"));
    await expect(dataset.row(0)).rejects.toMatchObject(refusal(/leads out/));
  });
});

describe("a dataset's fingerprint", () => {
  test("is the same for a copy, and changes with prompts, names, order, sizes and the choice of rows", async () => {
    const of = async (root: string, more = {}) => scratch.open({ trainDataDir: root, ...more });
    const rows = [line("a.png", "b.png", "1"), line("b.png", "a.png", "2")];
    const root = await folderOf(rows.join(""));
    const original = await of(root);
    const copy = scratch.path();
    await cp(root, copy, { recursive: true });
    await utimes(join(copy, "a.png"), 1, 1);
    expect((await of(copy)).fingerprint).toBe(original.fingerprint);
    expect((await of(copy)).stamp).not.toBe(original.stamp);

    const others = [
      await of(await folderOf(rows.toReversed().join(""))),
      await of(await folderOf(rows.join("").replace('"2"', '"3"'))),
      await of(await folderOf(rows.join("").replace("a.png", "b.png"))),
      await of(root, { maxTrainSamples: 1, seed: 0 }),
    ];
    await copyFile(join(MIXED, "images", "3_i.png"), join(copy, "a.png"));
    others.push(await of(copy));
    expect(new Set([original, ...others].map(({ fingerprint }) => fingerprint)).size).toBe(6);
  });
});

test("max_train_samples takes the rows that shuffle(seed).select(range(n)) takes, and at most all", async () => {
  const root = await folderOf(Array.from({ length: 10 }, (_, i) => line("a.png", "b.png", String(i))).join(""));
  // np.random.default_rng(42).permutation(10)
  const order = [5, 6, 0, 7, 3, 2, 4, 9, 1, 8].map(String);
  for (const maxTrainSamples of [1, 4, 10, 50]) {
    const dataset = await scratch.open({ trainDataDir: root, maxTrainSamples, seed: 42n });
    expect(await promptsOf(dataset)).toEqual(order.slice(0, maxTrainSamples));
    expect(() => createLoader(dataset, { resolution: 0 })).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }),
    );
  }
});

import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDataset } from "../../lib/data/open-dataset.js";
import { loadImage } from "../../lib/images/index.js";
import { caption, drawScene, worldExample } from "../../lib/world/index.js";
import { MIXED } from "../data/helpers.js";
import { ip2p, ip2pHere, type Outcome, tinyModel, Workplace } from "./run-cli.js";

const run = (place: Workplace, ...args: string[]): Promise<Outcome> =>
  ip2pHere(["make-dataset", "--world", "--output", "pairs", ...args], { cwd: place.folder });

const FORMATS = ["folder", "parquet"] as const;

describe.each(FORMATS)("a data set as %s", (format) => {
  test("holds the examples of its seed, for ip2p train to read", async () => {
    using place = new Workplace();
    const { status, stderr, stdout } = await run(place, "--count=23", "--seed=5", "--size=48", `--format=${format}`);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/10 of 23|pairs: 23 pairs in/);

    const dataset = await openDataset({ trainDataDir: place.at("pairs"), cacheDir: place.at("cache"), strict: true });
    expect(dataset.length).toBe(23);
    expect(dataset.columns).toEqual([
      "input_image",
      "edit_prompt",
      "edited_image",
      "original_prompt",
      "edited_prompt",
      "family",
    ]);
    for (const index of [0, 9, 10, 22]) {
      const { original, edited, prompt } = await dataset.row(index);
      const { scene, edit } = worldExample(5, index);
      expect(prompt).toBe(edit.instruction);
      for (const [source, shown] of [
        [original, scene],
        [edited, edit.target],
      ] as const) {
        const picture = await loadImage("path" in source ? source.path : Buffer.from(source.bytes));
        expect(picture.equals(await drawScene(shown, 48))).toBe(true);
      }
    }
    await dataset.close();
  });

  test("trains a model", async () => {
    using place = new Workplace();
    expect((await run(place, "--count=8", "--size=32", `--format=${format}`)).status).toBe(0);
    const { status, stderr } = await ip2pHere(
      [
        ...[
          "train",
          "--pretrained_model_name_or_path",
          tinyModel,
          "--train_data_dir",
          "pairs",
          "--output_dir",
          "model",
        ],
        ...["--resolution=32", "--train_batch_size=2", "--max_train_steps=3", "--seed=1", "--report_to=none"],
        ...["--num_threads=1", "--cache_dir=cache"],
      ],
      { cwd: place.folder },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const metrics = readFileSync(place.at("model", "metrics.jsonl"), "utf8").trim().split("\n");
    expect(metrics).toHaveLength(3);
  });

  test("appears whole or not at all", async () => {
    using place = new Workplace();
    const outcome = await ip2p(
      ["make-dataset", "--world", "--count=40000", "--output=pairs", "--json", `--format=${format}`],
      {
        cwd: place.folder,
        onOutput: (_, child) => {
          if (place.list().some((name) => name.includes(".tmp"))) child.kill("SIGINT");
        },
      },
    );
    expect(outcome.status).toBe(130);
    expect(outcome.stderr).toBe("ip2p: cancelled (SIGINT)\n");
    expect(JSON.parse(outcome.stdout.trim().split("\n").at(-1)!)).toMatchObject({
      event: "error",
      code: "ERR_ABORTED",
    });
    expect(place.list()).toEqual([]);
  });
});

test("metadata describe the scene before and after, and name the images", async () => {
  using place = new Workplace();
  expect((await run(place, "--count=3", "--seed=7")).status).toBe(0);
  const [first, ...others] = readFileSync(place.at("pairs", "metadata.jsonl"), "utf8").trim().split("\n");
  expect(others).toHaveLength(2);
  const { scene, edit } = worldExample(7, 0);
  expect(JSON.parse(first!)).toEqual({
    input_image_file_name: "images/0000/0000000_before.png",
    edit_prompt: edit.instruction,
    edited_image_file_name: "images/0000/0000000_after.png",
    original_prompt: caption(scene),
    edited_prompt: caption(edit.target),
    family: edit.family,
  });
});

test("the same seed gives the same bytes, another one others", async () => {
  using place = new Workplace();
  const make = async (output: string, seed: number) => {
    await ip2pHere(
      ["make-dataset", "--world", "--count=20", `--seed=${seed}`, "--format=parquet", `--output=${output}`],
      {
        cwd: place.folder,
      },
    );
    return readFileSync(place.at(output, "data", "train-00000-of-00001.parquet"));
  };
  const one = await make("one", 1);
  expect(one.equals(await make("again", 1))).toBe(true);
  expect(one.equals(await make("other", 2))).toBe(false);
});

test("reports progress in JSON", async () => {
  using place = new Workplace();
  const { stdout } = await run(place, "--count=4", "--json");
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  expect(events.slice(0, -1)).toEqual([1, 2, 3, 4].map((done) => ({ event: "progress", done, total: 4 })));
  expect(events.at(-1)).toEqual({
    ...{ event: "done", output: "pairs", format: "folder", rows: 4, seed: 0, size: 64 },
    seconds: expect.any(Number),
  });
});

test("an empty folder is filled", async () => {
  using place = new Workplace();
  mkdirSync(place.at("pairs"));
  expect(await run(place, "--count=1", "--quiet")).toMatchObject({ status: 0, stdout: "", stderr: "" });
  expect(place.list()).toContain(join("pairs", "metadata.jsonl"));
});

test.each([
  ["a folder that holds something", ["--count=1"], 1, /"pairs": the folder is not empty/],
  ["a folder in none", ["--count=1", "--output=no/where"], 1, /the folder ".*no" does not exist/],
  ["a file in its place", ["--count=1", "--output=pairs/mine.txt"], 1, /mine\.txt": it is not a folder/],
  ["no source", ["--count=1", "--no_world", "--output=new"], 2, /--from.*--photos.*--world/],
  ["two sources", ["--count=1", "--from=pairs", "--output=new"], 2, /--from.*--world/],
  [
    "an option of the other source",
    ["--count=1", "--skip_unusable", "--output=new"],
    2,
    /--skip_unusable goes with --from/,
  ],
  ["no count", ["--output=new"], 2, /--count/],
  ["no pairs", ["--count=0", "--output=new"], 2, /--count/],
  ["a seed below zero", ["--count=1", "--seed=-1", "--output=new"], 2, /--seed/],
  ["a format that is not known", ["--count=1", "--format=csv", "--output=new"], 2, /--format/],
])("refuses %s in one line, and changes nothing", async (_, args, expected, words) => {
  using place = new Workplace();
  mkdirSync(place.at("pairs"));
  writeFileSync(place.at("pairs", "mine.txt"), "mine");
  const { status, stderr } = await run(place, ...args);
  expect(status).toBe(expected);
  expect(stderr).toMatch(words);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(place.list()).toEqual(["pairs", join("pairs", "mine.txt")]);
});

test("a full disk is named, and what was written is removed", async () => {
  using place = new Workplace();
  const outcome = await ip2p(["make-dataset", "--world", "--count=400", "--output=pairs", "--format=parquet"], {
    cwd: place.folder,
    fileSizeLimit: 600,
  });
  expect(outcome).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^ip2p: cannot write "pairs": the file .*\n$/),
  });
  expect(place.list()).toEqual([]);
});

test("--families draws edits of those families only, in turns", async () => {
  using place = new Workplace();
  const { status } = await run(place, "--count=6", "--seed=5", "--size=16", "--families=move, add");
  expect(status).toBe(0);
  const rows = readFileSync(place.at("pairs/metadata.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(rows.map(({ family }) => family)).toEqual(["move", "add", "move", "add", "move", "add"]);
  expect(rows[1].edit_prompt).toBe(worldExample(5, 1, ["move", "add"]).edit.instruction);

  const refused = await run(place, "--count=6", "--families=move,fly");
  expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('"fly"; known: recolour, ') });
});

test.each(FORMATS)("--from writes one's own pairs as %s", async (format) => {
  using place = new Workplace();
  cpSync(MIXED, place.at("pairs"), { recursive: true });
  const from = ["make-dataset", "--from=pairs", `--format=${format}`];
  const { status, stdout, stderr } = await ip2pHere([...from, "--output=new", "--json"], { cwd: place.folder });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toEqual({
    ...{ event: "done", output: "new", format, rows: 6, from: "pairs", skipped_rows: 0, left_out_columns: [] },
    seconds: expect.any(Number),
  });
  const checked = await ip2pHere(["check-dataset", "--from=new", "--quiet"], { cwd: place.folder });
  expect(checked).toEqual({ status: 0, stdout: "", stderr: "" });
  expect(await ip2pHere([...from, "--output=new"], { cwd: place.folder })).toMatchObject({ status: 1, stdout: "" });
  expect(await ip2pHere([...from, "--output=other", "--size=32"], { cwd: place.folder })).toMatchObject({
    status: 2,
    stderr: "ip2p: make-dataset: --size goes with --world\n",
  });
});

test("--photos makes pairs of one's own photographs, and names those that cannot be used", async () => {
  using place = new Workplace();
  mkdirSync(place.at("photos"));
  for (const seed of [1, 2])
    await (await drawScene(worldExample(seed, 0).scene, 80)).save(place.at("photos", `${seed}.png`));
  writeFileSync(place.at("photos", "broken.jpg"), "no image");
  const photos = ["make-dataset", "--photos=photos", "--resolution=32", "--count=5"];
  const { status, stdout, stderr } = await ip2pHere([...photos, "--output=new", "--json"], { cwd: place.folder });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events.filter(({ event }) => event === "warning").map(({ message }) => message)).toEqual([
    '"broken.jpg" is not an image in a known format',
    "left out, since they cannot be used: 1 photograph",
  ]);
  expect(events.at(-1)).toEqual({
    ...{ event: "done", output: "new", format: "folder", rows: 5, photos: 2, other_photos: 0, unusable_photos: 1 },
    ...{ seed: 0, resolution: 32, seconds: expect.any(Number) },
  });
  const checked = await ip2pHere(["check-dataset", "--from=new", "--quiet"], { cwd: place.folder });
  expect(checked).toEqual({ status: 0, stdout: "", stderr: "" });
  for (const [options, words] of [
    [["--size=32"], "--size goes with --world"],
    [["--world"], "one source"],
    [["--only_held_out"], "--held_out"],
    [["--families=fly"], '"fly"; known: black_and_white'],
  ] as const)
    expect(await ip2pHere([...photos, ...options, "--output=other"], { cwd: place.folder })).toMatchObject({
      ...{ status: 2, stderr: expect.stringContaining(words) },
    });
});

describe("two folders of images", () => {
  const copy = (place: Workplace, from: string, to: string) => {
    mkdirSync(place.at(to, ".."), { recursive: true });
    cpSync(from, place.at(to));
  };
  async function folders(place: Workplace): Promise<void> {
    for (const [i, name] of ["a.png", "deep/b.png", "c.png", "c2.png"].entries())
      for (const side of ["before", "after"]) {
        const example = worldExample(7, name === "c2.png" ? 2 : i);
        mkdirSync(join(place.at(side, name), ".."), { recursive: true });
        await (await drawScene(side === "before" ? example.scene : example.edit.target)).save(place.at(side, name));
      }
    writeFileSync(place.at("after", "a.txt"), "make it a\n");
    writeFileSync(place.at("after", "deep", "b.txt"), "make it b");
    for (const name of ["c", "c2"]) writeFileSync(place.at("after", `${name}.txt`), "make it c");
  }
  const make = (place: Workplace, ...args: string[]) =>
    ip2pHere(["make-dataset", "--before=before", "--after=after", "--output=pairs", ...args], { cwd: place.folder });
  const promptsOf = async (place: Workplace) => {
    const dataset = await openDataset({ trainDataDir: place.at("pairs"), cacheDir: place.at("cache"), strict: true });
    return Promise.all(Array.from({ length: dataset.length }, async (_, i) => (await dataset.row(i)).prompt));
  };

  test.each(FORMATS)("are paired by names, and what is wrong with them is reported, as %s", async (format) => {
    using place = new Workplace();
    await folders(place);
    const { status, stderr, stdout } = await make(
      place,
      `--format=${format}`,
      "--check",
      "--sheet=sheet.png",
      "--json",
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(await promptsOf(place)).toEqual(["make it a", "make it c", "make it c", "make it b"]);
    const { report, rows } = JSON.parse(stdout.trim().split("\n").at(-1)!) as {
      rows: number;
      report: { usable_rows: number; duplicates: { count: number } };
    };
    expect([rows, report.usable_rows, report.duplicates.count]).toEqual([4, 4, 1]);
    expect((await loadImage(place.at("sheet.png"))).width).toBeGreaterThan(64);
  });

  test("what is missing is named, or left out", async () => {
    using place = new Workplace();
    await folders(place);
    copy(place, place.at("before", "a.png"), "before/lonely.png");
    const failed = await make(place, "--prompt=make it so");
    expect(failed.status).toBe(1);
    expect(failed.stderr).toMatch(/"lonely": there is no image of that name in "after"/);
    const { status, stderr } = await make(place, "--prompt=make it so", "--skip_unusable");
    expect(status).toBe(0);
    expect(stderr).toMatch(/row skipped: "lonely"/);
    expect(await promptsOf(place)).toEqual(Array(4).fill("make it so"));
  });

  test("instructions may be lines of a list", async () => {
    using place = new Workplace();
    await folders(place);
    writeFileSync(place.at("list.tsv"), "a.png\tone\ndeep/b\ttwo\r\nc\tthree\n\nc2\tfour\n");
    expect((await make(place, "--prompts=list.tsv")).stderr).toBe("");
    expect(await promptsOf(place)).toEqual(["one", "three", "four", "two"]);
    for (const [list, message] of [
      ["a\tx\na.png\ty\n", /list\.tsv", line 2: "a\.png" has an instruction already/],
      ["no tab\n", /line 1: a line is a name, a tab and an instruction/],
      ["a\tx\n", /"c": has no prompt/],
    ] as const) {
      writeFileSync(place.at("list.tsv"), list);
      const { status, stderr } = await make(place, "--prompts=list.tsv", "--output=other");
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
    }
  });

  test.each([
    [["--before=before"], /--before takes --after/],
    [["--before=b", "--after=a", "--prompt=x", "--prompts=y"], /give one of them/],
    [["--before=b", "--after=a", "--from=c"], /give one source/],
    [["--world", "--count=1", "--after=a"], /--after goes with --before/],
    [["--world", "--count=1", "--sheet=a.png"], /--sheet goes with --check/],
    [["--before=nowhere", "--after=a"], /nowhere/],
  ])("%j is refused", async (args, message) => {
    using place = new Workplace();
    const { status, stderr } = await ip2pHere(["make-dataset", "--output=pairs", ...args], { cwd: place.folder });
    expect(status).not.toBe(0);
    expect(stderr).toMatch(message);
  });
});

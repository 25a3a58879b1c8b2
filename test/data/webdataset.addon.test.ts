import { readdir, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { packTar } from "modern-tar";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EpochOrder, groupedPermutations } from "../../lib/data/permutation.js";
import { partOf, shardNames } from "../../lib/data/webdataset/names.js";
import { RgbImage } from "../../lib/index.js";
import { loadAll, useScratch } from "./helpers.js";

const scratch = useScratch();

interface Member {
  name: string;
  data: string | Uint8Array;
}

async function tarOf(members: readonly Member[]): Promise<Buffer> {
  const bodies = members.map(({ name, data }) => ({ name, data: Buffer.from(data) }));
  return Buffer.from(
    await packTar(bodies.map(({ name, data }) => ({ header: { name, size: data.length, type: "file" }, body: data }))),
  );
}

let png: Buffer;
beforeAll(async () => {
  png = await new RgbImage(4, 4, new Uint8Array(48).fill(9)).encode("png");
});

/** Samples of a shard: a name too long for a plain header too, and one after which nothing else fits. */
function samples(shard: number, count: number): Member[] {
  return Array.from({ length: count }, (_, i) => {
    const key = i === 1 ? `${"long/".repeat(60)}${shard}-${i}` : `${shard}-${i}`;
    return [
      { name: `${key}.input_image.png`, data: png },
      { name: `${key}.edited_image.png`, data: png },
      i % 2 === 0
        ? { name: `${key}.edit_prompt.txt`, data: `make it ${shard}-${i}\n` }
        : { name: `${key}.json`, data: JSON.stringify({ edit_prompt: `make it ${shard}-${i}`, author: "me" }) },
    ];
  }).flat();
}

async function promptsIn(dataset: Awaited<ReturnType<typeof scratch.open>>): Promise<(string | null)[]> {
  const prompts: (string | null)[] = [];
  for (let row = 0; row < dataset.length; row++) prompts.push((await dataset.row(row)).prompt);
  return prompts;
}

const PROMPTS = ["make it 0-0", "make it 0-1", "make it 0-2", "make it 1-0", "make it 1-1", "make it 1-2"];

describe("names", () => {
  test("of shards: ranges, choices, lists", () => {
    expect(shardNames("a-{08..11}.tar::b/{x,y}{0..1}.tar")).toEqual([
      ...["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar", "b/x0.tar", "b/x1.tar", "b/y0.tar", "b/y1.tar"],
    ]);
    for (const list of ["{5..1}.tar", "{}", "a::", "", "{0..99999999}.tar", "{a}"])
      expect(() => shardNames(list), list).toThrow(expect.objectContaining({ code: "ERR_DATASET" }));
  });

  test("of members are taken apart at the first dot of the last name", () => {
    expect(partOf("./a.b/c.input_image.JPG")).toEqual({ key: "a.b/c", part: "input_image.jpg" });
    for (const name of ["a/b", ".hidden", "a/.x.png", "a.", "__meta__"]) expect(partOf(name)).toBeUndefined();
  });
});

describe("tar shards", () => {
  test("are read from a folder, with texts of their own or in JSON, and give the pixels of their images", async () => {
    const folder = await scratch.folder({ "0.tar": await tarOf(samples(0, 3)), "1.tar": await tarOf(samples(1, 3)) });
    const dataset = await scratch.open({ trainDataDir: folder, otherColumns: true });
    expect(dataset.length).toBe(6);
    expect(await promptsIn(dataset)).toEqual(PROMPTS);
    expect(dataset.describe(3)).toBe(`${join(folder, "1.tar")}, sample "1-0"`);
    expect((await loadAll(dataset)).prompts).toEqual(PROMPTS);
    const { original } = await dataset.row(1);
    expect("bytes" in original && Buffer.from(original.bytes).equals(png)).toBe(true);
    expect([0, 3].map((row) => dataset.group!(row))).toEqual([0, 1]);
    await dataset.close();
    const copy = await scratch.folder({ "0.tar": await tarOf(samples(0, 3)), "1.tar": await tarOf(samples(1, 3)) });
    const same = await scratch.open({ trainShards: `${copy}/{0..1}.tar` });
    expect(same.fingerprint).toBe(dataset.fingerprint);
    expect(same.stamp).not.toBe(dataset.stamp);
    const other = await scratch.open({ trainShards: `${copy}/1.tar::${copy}/0.tar` });
    expect(other.fingerprint).not.toBe(dataset.fingerprint);
    const few = await scratch.open({ trainShards: `${copy}/{0..1}.tar`, maxTrainSamples: 2, seed: 1 });
    expect(few.length).toBe(2);
    expect(few.group!(0)).toBe(Number(/^make it (\d)/.exec((await few.row(0)).prompt!)![1]));
  });

  test("that no longer fit on the disk are read again, with the same bytes", async () => {
    const folder = await scratch.folder(
      Object.fromEntries(await Promise.all([0, 1, 2].map(async (i) => [`${i}.tar`, await tarOf(samples(i, 3))]))),
    );
    const cacheDir = scratch.path();
    const dataset = await scratch.open({ trainDataDir: folder, shardCache: 0, cacheDir });
    const copies = async () =>
      (await readdir(join(cacheDir, "unpacked-shards"))).filter((name) => name.endsWith(".parts")).length;
    expect(await copies()).toBe(1);
    const rows = [0, 8, 4, 1, 7, 3];
    for (const row of rows) expect((await dataset.row(row)).prompt).toBe(`make it ${Math.floor(row / 3)}-${row % 3}`);
    expect(await copies()).toBe(1);
    // Whatever is damaged of what is kept is made anew.
    for (const name of await readdir(join(cacheDir, "unpacked-shards")))
      if (name.endsWith(".json")) await writeFile(join(cacheDir, "unpacked-shards", name), "{}\nx\n");
    const again = await scratch.open({ trainDataDir: folder, shardCache: 1, cacheDir });
    expect(again.fingerprint).toBe(dataset.fingerprint);
    expect(await promptsIn(again)).toHaveLength(9);
    expect(await copies()).toBe(3);
  });

  test.each([
    [
      "cut off",
      async (tar: Buffer) => tar.subarray(0, 700),
      /0\.tar" is no tar file or damaged, at or after "0-0\.input_image\.png": .*truncated/i,
    ],
    ["text", async () => Buffer.from("no tar".repeat(200)), /0\.tar" is no tar file or damaged: /],
    [
      "a changed header",
      async (tar: Buffer) => Buffer.from(tar).fill(7, 10, 20),
      /0\.tar" is no tar file or damaged: .*checksum/i,
    ],
    [
      "a part twice",
      async () => tarOf([...samples(0, 1), ...samples(0, 1)]),
      /sample "0-0" has "input_image.png" twice/,
    ],
    ["nothing", async () => tarOf([]), /there are no samples/],
    [
      "other columns",
      async () =>
        tarOf([
          { name: "a.jpg", data: "x" },
          { name: "a.txt", data: "y" },
        ]),
      /no column "input_image"; set originalImageColumn to one of those it has: "jpg", "txt"/,
    ],
  ])("%s: named", async (_, damage, message) => {
    const folder = await scratch.folder({ "0.tar": await damage(await tarOf(samples(0, 2))) });
    await expect(scratch.open({ trainDataDir: folder })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(message) as string,
    });
  });

  test("a sample without an image, or with a broken one, costs that row only", async () => {
    const members = [
      ...samples(0, 1),
      { name: "b.input_image.png", data: png },
      { name: "b.edit_prompt.txt", data: "make it b" },
      { name: "c.json", data: "[]" },
      { name: "c.input_image.png", data: png },
      { name: "c.edited_image.png", data: png },
      { name: "d.input_image.png", data: "no image" },
      { name: "d.edited_image.png", data: png },
      { name: "d.edit_prompt.txt", data: "make it d" },
    ];
    const folder = await scratch.folder({ "0.tar": await tarOf(members) });
    const skipped: string[] = [];
    const dataset = await scratch.open({ trainDataDir: folder });
    const { prompts } = await loadAll(dataset, { onSkip: ({ reason }) => skipped.push(reason) });
    expect(prompts).toEqual(["make it 0-0"]);
    expect(skipped.sort()).toEqual([
      expect.stringMatching(/0\.tar, sample "b": has no edited_image$/),
      expect.stringMatching(/0\.tar, sample "c": its json is no object$/),
      expect.stringMatching(/0\.tar, sample "d": the image is not an image in a known format/),
    ]);
  });

  test("columns may be the endings of members", async () => {
    const members = [
      { name: "x/1.0.png", data: png },
      { name: "x/1.1.png", data: png },
      { name: "x/1.txt", data: "make it so" },
    ];
    const folder = await scratch.folder({ "0.tar": await tarOf(members) });
    const dataset = await scratch.open({
      ...{ dataFile: join(folder, "0.tar"), editPromptColumn: "txt" },
      ...{ originalImageColumn: "0", editedImageColumn: "1.png" },
    });
    expect((await loadAll(dataset)).prompts).toEqual(["make it so"]);
  });
});

describe("shards over http", () => {
  let server: Server;
  let address: string;
  const asked: string[] = [];
  const files = new Map<string, Buffer>();
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(request.url!);
      const bytes = files.get(request.url!);
      if (bytes) response.writeHead(200, { "content-length": bytes.length }).end(bytes);
      else response.writeHead(404).end();
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (const i of [0, 1]) files.set(`/${i}.tar?key=secret`, await tarOf(samples(i, 3)));
  });
  afterAll(() => new Promise((done) => server.close(done)));

  test("are read in whole, once, and what they hold is known to later runs; missing ones are named without their query", async () => {
    const cacheDir = scratch.path();
    const trainShards = `${address}/{0..1}.tar?key=secret`;
    const dataset = await scratch.open({ trainShards, cacheDir });
    expect(await promptsIn(dataset)).toEqual(PROMPTS);
    await dataset.close();
    expect(asked).toEqual(["/0.tar?key=secret", "/1.tar?key=secret"]);
    const again = await scratch.open({ trainShards, cacheDir });
    expect(await promptsIn(again)).toEqual(PROMPTS);
    expect(asked).toHaveLength(2);
    await again.close();

    // Another shard at the same address must not be trained on unnoticed.
    const kept = join(cacheDir, "unpacked-shards");
    for (const name of await readdir(kept)) if (name.endsWith(".parts")) await truncate(join(kept, name), 0);
    await expect((await scratch.open({ trainShards, cacheDir })).row(0)).rejects.toMatchObject({ code: "ERR_IO" });
    const gone = scratch.open({ trainShards: `${address}/nothing.tar?key=secret`, cacheDir });
    await expect(gone).rejects.toMatchObject({ code: "ERR_DOWNLOAD" });
    await expect(gone).rejects.toThrow(/nothing\.tar\?…": the server answered 404/);
    await expect(scratch.open({ trainShards: "ftp://host/a.tar" })).rejects.toThrow(/disk, http and https/);
  });

  test("another shard at the address than before is an error", async () => {
    const cacheDir = scratch.path();
    const trainShards = `${address}/0.tar?key=secret`;
    const dataset = await scratch.open({ trainShards, cacheDir, shardCache: 0 });
    const kept = join(cacheDir, "unpacked-shards");
    for (const name of await readdir(kept)) if (name.endsWith(".parts")) await rm(join(kept, name));
    const before = files.get("/0.tar?key=secret")!;
    files.set("/0.tar?key=secret", await tarOf(samples(5, 3)));
    await expect(dataset.row(0)).rejects.toThrow(/has changed since it was first read/);
    files.set("/0.tar?key=secret", before);
    expect((await dataset.row(0)).prompt).toBe("make it 0-0");
    await dataset.close();
  });
});

test("an order by groups goes through a few groups at a time, differs by epoch, and resumes anywhere", async () => {
  const group = (row: number) => Math.floor(row / 10);
  const source = groupedPermutations(3, group);
  const options = { length: 100, batchSize: 7, source };
  const order = new EpochOrder(options);
  const epochs: number[][] = [[], []];
  const states: string[] = [];
  for (const rows of epochs)
    for await (const batch of order.restOfEpoch()) {
      rows.push(...batch.rows);
      states.push(JSON.stringify(batch.next));
    }
  const [first, second] = epochs as [number[], number[]];
  for (const rows of epochs) expect([...rows].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(second).not.toEqual(first);
  for (const start of [0, 40, 80])
    expect(new Set(first.slice(start, start + 40).map(group)).size).toBeLessThanOrEqual(4);
  expect(new Set(first.slice(0, 10).map(group)).size, "rows of groups are mixed").toBeGreaterThan(1);
  const resumed = EpochOrder.fromJSON(JSON.parse(states[5]!), options);
  expect((await resumed.next()).rows).toEqual(first.slice(42, 49));
});

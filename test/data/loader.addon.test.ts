import { readFileSync } from "node:fs";
import { mkdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import type { EditDataset } from "../../lib/data/dataset.js";
import { createLoader, type SkippedRow } from "../../lib/data/loader.js";
import { heldUpDuring } from "../helpers/event-loop.mjs";
import { line, loadAll, MIXED, MIXED_RESOLUTION, picture, useScratch } from "./helpers.js";

const scratch = useScratch();
const PNG = readFileSync(join(MIXED, "images", "0_i.png"));

/** A dataset in memory whose rows do as they are told. */
function datasetOf(length: number, prompt: (index: number) => string | null | Promise<string | null>): EditDataset {
  const stored = { bytes: PNG, name: "the image" };
  return {
    length,
    columns: [],
    textColumns: [],
    fingerprint: "",
    stamp: "",
    row: async (index) => ({ original: stored, edited: stored, prompt: await prompt(index), texts: {} }),
    describe: (index) => `row ${index}`,
    close: async () => {},
  };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a broken row", () => {
  const bad: [what: string, row: string, reason: RegExp][] = [
    ["a truncated image", line("cut.png", "b.png", "x"), /cut\.png" is a PNG image that cannot be decoded/],
    ["a missing file", line("none.png", "b.png", "x"), /the image "none.png" does not exist/],
    ["a missing edited file", line("a.png", "none.png", "x"), /the image "none.png" does not exist/],
    ["a file that is not an image", line("text.png", "b.png", "x"), /text\.png" is not an image/],
    ["an empty file", line("empty.png", "b.png", "x"), /empty\.png" is empty/],
    ["a folder", line("folder", "b.png", "x"), /the image "folder" does not exist/],
    ["an empty prompt", line("a.png", "b.png", ""), /has an empty prompt/],
    ["a blank prompt", line("a.png", "b.png", " \t"), /has an empty prompt/],
    ["a prompt that is null", line("a.png", "b.png", null), /has no prompt/],
    ["an image that is null", line(null, "b.png", "x"), /has no input_image/],
    ["an image that is empty text", line("a.png", "", "x"), /has no edited_image/],
  ];

  async function folderWith(rows: string): Promise<string> {
    const root = await scratch.folder({
      "a.png": picture("0_i.png"),
      "b.png": picture("2_e.png"),
      "cut.png": picture("2_i.png"),
      "text.png": "hello",
      "empty.png": "",
      "metadata.jsonl": rows,
    });
    await truncate(join(root, "cut.png"), 700);
    await mkdir(join(root, "folder"));
    return root;
  }

  test.each(bad)("is skipped, counted and named: %s", async (_what, row, reason) => {
    const good = line("a.png", "b.png", "good");
    const dataset = await scratch.open({ trainDataDir: await folderWith(good + row + good) });
    const skipped: SkippedRow[] = [];
    const loader = createLoader(dataset, { resolution: 8, onSkip: (one) => skipped.push(one) });
    const whole = await loader.load([0, 2]);
    const batch = await loader.load([2, 1, 0, 1]);
    expect(batch).toMatchObject({ prompts: ["good", "good"], indices: [2, 0], positions: [0, 2] });
    expect(batch.originals).toEqual(whole.originals);
    expect(batch.edited).toEqual(whole.edited);
    expect(loader.skippedRows).toBe(1);
    expect(skipped).toEqual([{ row: 1, reason: expect.stringMatching(/^metadata.jsonl, line 2: /) }]);
    expect(skipped[0]!.reason).toMatch(reason);
    expect(skipped[0]!.reason).not.toContain("\n");
    expect(await loader.load([1])).toMatchObject({ prompts: [], indices: [], positions: [] });
    expect((await loader.load([1])).originals).toHaveLength(0);
  });

  test.each(bad)("stops a strict loader: %s", async (_what, row, reason) => {
    const dataset = await scratch.open({ trainDataDir: await folderWith(line("a.png", "b.png", "x") + row) });
    const loader = createLoader(dataset, { resolution: 8, strict: true });
    await expect(loader.load([0, 1])).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(new RegExp(`^metadata.jsonl, line 2: .*${reason.source}`)),
    });
  });

  test("among ten thousand costs no more than itself", async () => {
    const rows = Array.from({ length: 10_000 }, (_, i) => line("a.png", i === 7777 ? "cut.png" : "b.png", String(i)));
    const dataset = await scratch.open({ trainDataDir: await folderWith(rows.join("")) });
    const skipped: SkippedRow[] = [];
    const loader = createLoader(dataset, { resolution: 4, workers: 2, onSkip: (one) => skipped.push(one) });
    const prompts: string[] = [];
    // Every row is looked at, but decoding them all would take long: those around the broken one do.
    for (let row = 7700; row < 7850; row += 50)
      prompts.push(...(await loader.load(Array.from({ length: 50 }, (_, i) => row + i))).prompts);
    expect(prompts).toEqual(
      Array.from({ length: 150 }, (_, i) => String(7700 + i)).filter((prompt) => prompt !== "7777"),
    );
    expect(skipped).toEqual([{ row: 7777, reason: expect.stringMatching(/^metadata.jsonl, line 7778: .*cut\.png/) }]);
  });

  test("causes a process warning if there is no listener, for the first rows only", async () => {
    const warnings = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const loader = createLoader(
      datasetOf(40, (i) => (i < 30 ? null : "x")),
      { resolution: 4 },
    );
    await loader.load(Array.from({ length: 40 }, (_, i) => i));
    expect(loader.skippedRows).toBe(30);
    expect(warnings).toHaveBeenCalledTimes(20);
    expect(warnings.mock.calls[0]![0]).toBe("row skipped: row 0: has no prompt");
    expect(warnings.mock.calls[19]![0]).toBe("row skipped: row 19: has no prompt; further ones are only counted");
  });

  test("is an error if all rows are broken", async () => {
    const loader = createLoader(
      datasetOf(3, () => null),
      { resolution: 4, onSkip: () => {} },
    );
    expect(await loader.load([0, 1])).toMatchObject({ indices: [] });
    await expect(loader.load([2])).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: "none of the 3 rows can be used; the last one: row 2: has no prompt",
    });
  });

  test("is not broken if its prompt is empty and may be", async () => {
    const dataset = datasetOf(3, (i) => ["", "x", null][i]!);
    const batch = await loadAll(dataset, { emptyPrompts: "keep", onSkip: () => {} });
    expect(batch.prompts).toEqual(["", "x"]);
  });

  test("is not skipped if the machine has no file descriptors left", async () => {
    const dataset = datasetOf(2, () => {
      throw new InstructPix2PixError("ERR_IMAGE", "cannot be read", {
        cause: Object.assign(new Error(), { code: "EMFILE" }),
      });
    });
    await expect(loadAll(dataset, { onSkip: () => {} })).rejects.toMatchObject({ code: "ERR_IMAGE" });
  });
});

describe("reading ahead", () => {
  const requests = (count: number) => Array.from({ length: count }, (_, i) => ({ rows: [2 * i, 2 * i + 1], name: i }));

  test("gives the batches in order, with what was asked for", async () => {
    // Later rows are ready sooner.
    const dataset = datasetOf(12, async (i) => {
      await sleep(12 - i);
      return String(i);
    });
    const loader = createLoader(dataset, { resolution: 4, workers: 12, prefetch: 5 });
    const seen: unknown[] = [];
    for await (const { request, prompts, waitSeconds } of loader.prefetched(requests(6))) {
      expect(waitSeconds).toBeGreaterThanOrEqual(0);
      seen.push([request.name, prompts]);
    }
    expect(seen).toEqual(Array.from({ length: 6 }, (_, i) => [i, [String(2 * i), String(2 * i + 1)]]));
  });

  test.each([0, 1, 3])("reads at most %i batches ahead of the consumer", async (ahead) => {
    const started = new Set<number>();
    const dataset = datasetOf(40, (i) => {
      started.add(i >> 1);
      return "x";
    });
    const loader = createLoader(dataset, { resolution: 4, workers: 40 });
    let asked = 0;
    const source = (function* () {
      for (const request of requests(20)) {
        asked++;
        yield request;
      }
    })();
    let used = 0;
    for await (const _ of loader.prefetched(source, { ahead })) {
      used++;
      await sleep(5);
      expect(started.size).toBe(Math.min(20, used + ahead));
      expect(asked).toBe(started.size);
    }
    expect(used).toBe(20);
  });

  test("loads ahead while the consumer works, and reports the wait for what is not there yet", async () => {
    let started = 0;
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const dataset = datasetOf(8, async () => {
      if (++started > 2) await opened;
      return "x";
    });
    const batches = createLoader(dataset, { resolution: 4, workers: 2 })
      .prefetched(requests(4))
      [Symbol.asyncIterator]();
    await batches.next();
    // The rows of the second batch, which nobody has asked for.
    await vi.waitFor(() => expect(started).toBe(4), { timeout: 120_000 });
    const second = batches.next();
    await sleep(100);
    open();
    expect((await second).value?.waitSeconds).toBeGreaterThan(0.09);
    await batches.return?.();
  });

  test("limits the number of rows loaded at a time", async () => {
    let running = 0;
    let most = 0;
    const dataset = datasetOf(40, async () => {
      most = Math.max(most, ++running);
      await sleep(2);
      running--;
      return "x";
    });
    const loader = createLoader(dataset, { resolution: 4, workers: 3, prefetch: 8 });
    for await (const _ of loader.prefetched(requests(20)));
    expect(most).toBe(3);
  });

  test("fails at the broken batch, and leaves nothing running", async () => {
    let running = 0;
    const dataset = datasetOf(40, async (i) => {
      running++;
      await sleep(3);
      running--;
      return i === 5 ? null : "x";
    });
    const loader = createLoader(dataset, { resolution: 4, workers: 4, prefetch: 4, strict: true });
    let used = 0;
    const consume = async () => {
      for await (const _ of loader.prefetched(requests(20))) used++;
    };
    await expect(consume()).rejects.toMatchObject({ code: "ERR_DATASET", message: "row 5: has no prompt" });
    expect(used).toBe(2);
    expect(running).toBe(0);

    let ended = false;
    const endless = (async function* () {
      try {
        for (;;) yield { rows: [0, 1] };
      } finally {
        ended = true;
      }
    })();
    for await (const _ of loader.prefetched(endless)) break;
    expect({ running, ended }).toEqual({ running: 0, ended: true });
  });

  test("stops when it is aborted", async () => {
    const abort = new AbortController();
    const loader = createLoader(
      datasetOf(400, () => "x"),
      { resolution: 4, signal: abort.signal },
    );
    let used = 0;
    const consume = async () => {
      for await (const _ of loader.prefetched(requests(200))) if (++used === 3) abort.abort(new Error("enough"));
    };
    await expect(consume()).rejects.toMatchObject({ code: "ERR_ABORTED", cause: new Error("enough") });
    expect(used).toBeLessThan(6);
  });
});

test("loading leaves the event loop free", async () => {
  const dataset = await scratch.open({ trainDataDir: MIXED });
  await loadAll(dataset);
  const loader = createLoader(dataset, { resolution: 256, workers: 2 });
  const said = await heldUpDuring(async () => {
    for await (const _ of loader.prefetched(Array.from({ length: 20 }, () => ({ rows: [0, 1, 2, 3, 4, 5] }))));
  });
  expect(said).toBeUndefined();
});

test("invalid options are refused by name", async () => {
  const dataset = datasetOf(1, () => "x");
  for (const options of [
    { resolution: 0 },
    { resolution: 2.5 },
    { resolution: 8, workers: -1 },
    { resolution: 8, prefetch: -1 },
  ])
    expect(() => createLoader(dataset, options)).toThrow(
      expect.objectContaining({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringMatching(/^(resolution|workers|prefetch) /),
      }),
    );
  expect(
    (await createLoader(dataset, { resolution: MIXED_RESOLUTION, workers: 0 }).load([0, 0])).originals,
  ).toHaveLength(2 * MIXED_RESOLUTION ** 2 * 3);
});

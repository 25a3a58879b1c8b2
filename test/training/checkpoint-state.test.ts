import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { assertSameOptions, compareOptions, recordOptions } from "../../lib/training/checkpoint/options.js";
import { readState, STATE, type TrainingState, writeState } from "../../lib/training/checkpoint/state.js";
import { MemoryDisk } from "./checkpoint-memory-disk.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-state-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const state: TrainingState = {
  globalStep: 500,
  epoch: 3,
  order: { seed: "18446744073709551615", cursor: 12, pending: [1, null, "ü"] },
  learningRate: { step: 500 },
  scaler: { scale: 65536, growthTracker: 17 },
  ema: { step: 500 },
  generators: {
    "rank0.cpu": Uint8Array.from({ length: 5056 }, (_, i) => i % 251),
    "rank0.dropout": new Uint8Array(16),
  },
  options: { train_batch_size: 4, learning_rate: 5e-5, use_ema: true, seed: "42", conditioning_dropout_prob: null },
  versions: { package: "0.1.0", libtorch: "2.13.0" },
  threads: 2,
  trackers: { wandb: { id: "abc", entity: "me", project: "instruct-pix2pix" } },
};

const PIECES = {
  global_step: [-1, 0.5, "1", null],
  epoch: [-1, 1e300, [], {}],
  order: [],
  lr_schedule: [null, 1, {}, { step: -1 }, { step: 1, more: 2 }],
  scaler: [undefined, 1, {}, { scale: 0, growth_tracker: 1 }, { scale: 1 }, { scale: 1, growth_tracker: -1 }],
  ema: [1, {}, { step: "1" }],
  generators: [null, [], { a: 1 }, { a: "!" }, { a: "QUI" }, { a: "QUJD\n" }],
  options: [null, { a: [] }, { a: {} }],
  versions: [null, { a: 1 }],
  threads: [0, -1, null, 1.5],
  trackers: [null, []],
} as const;

async function refusal(): Promise<string> {
  const error = await readState(folder).then(
    () => expect.unreachable(),
    (reason: unknown) => reason,
  );
  expect(isInstructPix2PixError(error, "ERR_CHECKPOINT"), String((error as Error).stack)).toBe(true);
  expect((error as Error).message).not.toContain("\n");
  return (error as Error).message.replace(`${join(folder, STATE)}: `, "");
}

function rewrite(change: (content: Record<string, unknown>) => void): void {
  const content = JSON.parse(readFileSync(join(folder, STATE), "utf8"));
  change(content);
  writeFileSync(join(folder, STATE), JSON.stringify(content));
}

describe("a training state", () => {
  it("is read as it was written, bit for bit", async () => {
    await writeState(folder, state);
    expect(await readState(folder)).toEqual(state);
  });

  it("has null for parts that a run does not have", async () => {
    await writeState(folder, { ...state, scaler: null, ema: null, trackers: {}, order: null });
    expect(await readState(folder)).toEqual({ ...state, scaler: null, ema: null, trackers: {}, order: null });
  });

  it("is read as it was written (200 random cases)", async () => {
    const json = fc.jsonValue({ maxDepth: 3 }).filter((value) => !JSON.stringify(value).includes("-0"));
    const names = fc.string({ maxLength: 10 });
    const arbitrary = fc.record<TrainingState>({
      globalStep: fc.maxSafeNat(),
      epoch: fc.nat(),
      order: json as fc.Arbitrary<TrainingState["order"]>,
      learningRate: fc.record({ step: fc.nat() }),
      scaler: fc.option(
        fc.record({ scale: fc.double({ min: 1e-30, max: 1e30, noNaN: true }), growthTracker: fc.nat() }),
      ),
      ema: fc.option(fc.record({ step: fc.nat() })),
      generators: fc.dictionary(names, fc.uint8Array({ maxLength: 40 })),
      options: fc.dictionary(names, fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null))),
      versions: fc.dictionary(names, fc.string()),
      threads: fc.integer({ min: 1, max: 512 }),
      trackers: fc.dictionary(names, json) as fc.Arbitrary<TrainingState["trackers"]>,
    });
    await fc.assert(
      fc.asyncProperty(arbitrary, async (any) => {
        const disk = new MemoryDisk();
        await writeState("/", any, disk);
        const read = await readState("/", disk);
        // Dictionaries of fast-check have no prototype.
        expect(JSON.stringify(read)).toBe(JSON.stringify({ ...any }));
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  it.each(Object.keys(PIECES))("without its %s is refused by that name", async (key) => {
    await writeState(folder, state);
    rewrite((content) => delete content[key]);
    expect(await refusal()).toBe(`"${key}" is missing`);
  });

  it.each(Object.entries(PIECES).flatMap(([key, values]) => values.map((value) => [key, value] as const)))(
    "whose %s is %j is refused",
    async (key, value) => {
      await writeState(folder, state);
      rewrite((content) => {
        content[key] = value;
      });
      expect(await refusal()).toMatch(value === undefined ? `"${key}" is missing` : `"${key}" is `);
    },
  );

  it("with a piece that is unknown, of another version or format, is refused", async () => {
    await writeState(folder, state);
    rewrite((content) => {
      content.extra = 1;
    });
    expect(await refusal()).toBe('"extra" is not known');
    rewrite((content) => {
      content.format_version = 2;
    });
    expect(await refusal()).toBe("format version 2 cannot be read; this version of the package reads 1");
    rewrite((content) => {
      content.format = "other";
    });
    expect(await refusal()).toMatch(/^"format" is not/);
  });

  it("that is missing, no JSON, no text, a link or not JSON's numbers is refused", async () => {
    expect(await refusal()).toBe("is missing");
    symlinkSync("/dev/zero", join(folder, STATE));
    expect(await refusal()).toBe("is not a regular file");
    rmSync(join(folder, STATE));
    for (const content of ["", "{", "[]", "null", "1", '{"a":1}x', Buffer.of(0xff), "[".repeat(1e5)]) {
      writeFileSync(join(folder, STATE), content);
      await refusal();
    }
    rmSync(join(folder, STATE));
    await writeState(folder, state);
    const text = readFileSync(join(folder, STATE), "utf8");
    writeFileSync(join(folder, STATE), text.replace("65536", "NaN"));
    expect(await refusal()).toMatch(/^"scaler" is/);
    writeFileSync(join(folder, STATE), text.replace('"cursor": 12', '"cursor": Infinity'));
    expect(await refusal()).toMatch(/^"order" is/);
  });

  it("that could not be read again is not written", async () => {
    const bad: Partial<Record<keyof TrainingState, unknown>>[] = [
      { order: { a: [1, Number.NaN] } },
      { order: new Map() },
      { order: { at: undefined } },
      { globalStep: 1.5 },
      { scaler: { scale: Number.POSITIVE_INFINITY, growthTracker: 0 } },
      { threads: 0 },
      { ema: undefined },
      { options: { a: 1n } },
    ];
    for (const change of bad) {
      const error = await writeState(folder, { ...state, ...change } as TrainingState).catch(
        (reason: unknown) => reason,
      );
      expect(isInstructPix2PixError(error, "ERR_INTERNAL"), JSON.stringify(Object.keys(change))).toBe(true);
      expect((error as Error).message).toContain(Object.keys(change)[0]!);
    }
  });
});

describe("the options of a run", () => {
  const declarations = {
    train_batch_size: { type: "integer", default: 16 },
    learning_rate: { type: "number", default: 1e-4 },
    seed: { type: "bigint" },
    use_ema: { type: "boolean" },
    lr_step_rules: { type: "string" },
    max_train_steps: { type: "integer", mayChange: true },
    output_dir: { type: "string", default: "instruct-pix2pix-model", mayChange: true },
    hub_token: { type: "string", secret: true },
  } as const;
  const given = { trainBatchSize: 4, learningRate: 5e-5, seed: 2n ** 64n - 1n, useEma: true, outputDir: "a" };

  it("are recorded by their names in snake_case, without secrets", () => {
    expect(recordOptions({ ...given, hubToken: "hf_canary" }, declarations)).toEqual({
      train_batch_size: 4,
      learning_rate: 5e-5,
      seed: "18446744073709551615",
      use_ema: true,
      lr_step_rules: null,
      max_train_steps: null,
      output_dir: "a",
    });
  });

  it("are recorded without what may be secret in addresses, which may change on resume", () => {
    const shards = { train_shards: { type: "string", addresses: true } } as const;
    const of = (trainShards: string) => recordOptions({ trainShards }, shards);
    const signed =
      "https://me:word@data.example/{000..009}.tar?sig=canary#part::shards/a?.tar::http://b.example/x.tar?y";
    const clean = { train_shards: "https://data.example/{000..009}.tar::shards/a?.tar::http://b.example/x.tar" };
    expect(of(signed)).toEqual(clean);
    expect(compareOptions({ train_shards: signed }, of(signed.replace("canary", "other")), shards)).toEqual([]);
    expect(compareOptions(clean, of("https://data.example/1.tar"), shards)).toHaveLength(1);
  });

  it("may differ on resume where the numbers stay the same, and nowhere else", () => {
    const saved = recordOptions(given, declarations);
    const differing = { ...given, maxTrainSteps: 9, outputDir: "b", hubToken: "x" };
    expect(compareOptions(saved, recordOptions(differing, declarations), declarations)).toEqual([]);
    const changed = compareOptions(
      saved,
      recordOptions({ ...differing, learningRate: 1e-4, useEma: undefined, seed: 1n }, declarations),
      declarations,
    );
    expect(changed).toEqual([
      { name: "learning_rate", saved: 5e-5, now: 1e-4 },
      { name: "seed", saved: "18446744073709551615", now: "1" },
      { name: "use_ema", saved: true, now: false },
    ]);
    expect(() => assertSameOptions(changed.slice(1), "out/checkpoint-5")).toThrowError(
      expect.objectContaining({
        code: "ERR_CONFIG",
        message:
          'out/checkpoint-5: was made with other options: seed was "18446744073709551615" and is "1"; useEma was true and is false; give the same ones, or allowChangedOptions',
      }),
    );
    assertSameOptions([], "out/checkpoint-5");
  });

  it("have their defaults if the checkpoint does not have them", () => {
    const { use_ema: _, train_batch_size: __, ...old } = recordOptions(given, declarations);
    expect(
      compareOptions(old, recordOptions({ ...given, useEma: false, trainBatchSize: 16 }, declarations), declarations),
    ).toEqual([]);
    expect(compareOptions(old, recordOptions(given, declarations), declarations)).toEqual([
      { name: "train_batch_size", saved: 16, now: 4 },
      { name: "use_ema", saved: false, now: true },
    ]);
  });

  it("that only the checkpoint has count as changed if they were given", () => {
    const now = recordOptions(given, declarations);
    const saved = { ...now, later: "x", unset: null, off: false };
    expect(compareOptions(saved, now, declarations)).toEqual([{ name: "later", saved: "x", now: null }]);
  });
});

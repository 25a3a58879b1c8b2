import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { tabulated as crc32 } from "../../lib/files/crc32.js";
import { RgbImage } from "../../lib/images/rgb-image.js";
import { Secrets } from "../../lib/tracking/secrets.js";
import { TransactionLog } from "../../lib/tracking/wandb/transaction-log.js";
import { WandbTracker } from "../../lib/tracking/wandb/wandb-tracker.js";
import { decode, type Message, sub, text } from "./event-reader.js";

let out: string;

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), "ip2p-offline-"));
});

afterEach(() => {
  rmSync(out, { recursive: true, force: true });
});

/** Reads a `.wandb` file by the description of LevelDB's log format. */
function readLog(file: Buffer): Buffer[] {
  expect(file.subarray(0, 7)).toEqual(Buffer.from(":W&B\xe1\xbe\0", "latin1"));
  const records: Buffer[] = [];
  let parts: Buffer[] = [];
  for (let at = 7; at < file.length; ) {
    const room = 32768 - (at % 32768);
    if (room < 7) {
      expect(file.subarray(at, at + room).every((byte) => byte === 0)).toBe(true);
      at += room;
      continue;
    }
    const [checksum, length, type] = [file.readUInt32LE(at), file.readUInt16LE(at + 4), file.readUInt8(at + 6)];
    expect(length + 7).toBeLessThanOrEqual(room);
    const data = file.subarray(at + 7, at + 7 + length);
    expect(checksum).toBe(crc32(Buffer.concat([Buffer.of(type), data]), 0));
    expect([1, 2]).toContain(parts.length === 0 ? type : type - 2);
    parts.push(data);
    if (type === 1 || type === 4) {
      records.push(Buffer.concat(parts));
      parts = [];
    }
    at += 7 + length;
  }
  expect(parts).toEqual([]);
  return records;
}

function tracker(saved?: Record<string, string>, env: Record<string, string> = {}): [WandbTracker, string[]] {
  const notes: string[] = [];
  const run = new WandbTracker({
    project: "instruct-pix2pix",
    folder: out,
    saved,
    secrets: new Secrets([], []),
    warn: () => expect.unreachable(),
    inform: (note) => notes.push(note),
    env: { WANDB_MODE: "offline", WANDB_NAME: "mine", WANDB_TAGS: "a,b", ...env },
  });
  return [run, notes];
}

/** The entries of a list of `key`, `value_json`. */
function items(message: Message | undefined, field = 1): Record<string, string> {
  const entries = (message?.get(field) ?? []).map((bytes) => decode(bytes as Buffer));
  return Object.fromEntries(entries.map((entry) => [text(entry, 1)!, text(entry, 16)!]));
}

describe("a run with WANDB_MODE=offline", () => {
  it("is written as W&B's own clients do, for wandb sync", async () => {
    const [run, notes] = tracker();
    await run.init({ learning_rate: 5e-5, revision: null, use_ema: true });
    await run.log({ train_loss: 0.5, bad: Number.NaN }, 1);
    const image = new RgbImage(3, 2, new Uint8Array(18));
    await run.images("validation", [{ image, caption: "ü" }], 2);
    await run.log({ train_loss: 0.25 }, 2);
    await run.finish({ succeeded: false });

    const { id } = run.state()!;
    expect(run.state()).toEqual({ id, project: "instruct-pix2pix" });
    expect(notes).toEqual([`W&B: offline; send the run with: wandb sync ${out}/wandb/offline-run-*-${id}`]);
    const [name] = readdirSync(join(out, "wandb"));
    expect(name).toMatch(new RegExp(`^offline-run-\\d{8}_\\d{6}-${id}$`));
    const folder = join(out, "wandb", name!);
    const media = readdirSync(join(folder, "files", "media", "images"));
    expect(media).toEqual([expect.stringMatching(/^validation_2_[0-9a-f]{20}\.png$/)]);

    const records = readLog(readFileSync(join(folder, `run-${id}.wandb`))).map(decode);
    expect(records.map((record) => record.get(1))).toEqual(records.map((_, i) => [BigInt(i + 1)]));
    // header, run, the image, summary and history of step 1, summary and history of step 2, exit
    expect(records.map((record) => [...record.keys()][1])).toEqual([21, 17, 6, 3, 2, 3, 2, 18]);
    const settings = sub(records[1], 17)!;
    expect([1, 3, 8].map((field) => text(settings, field))).toEqual([id, "instruct-pix2pix", "mine"]);
    expect(settings.get(10)!.map(String)).toEqual(["a", "b"]);
    expect(items(sub(settings, 4))).toEqual({ learning_rate: "0.00005", revision: "null", use_ema: "true" });
    expect(Number(sub(settings, 17)!.get(1)![0])).toBeCloseTo(Date.now() / 1000, -2);
    const first = sub(records[4], 2)!;
    expect(items(first)).toMatchObject({ train_loss: "0.5", bad: "NaN", _step: "1" });
    expect(sub(first, 2)!.get(1)).toEqual([1n]);
    expect(items(sub(records[3], 3))).toEqual(items(first));
    expect(text(sub(sub(records[2], 6), 1), 1)).toBe(`media/images/${media[0]}`);
    const second = items(sub(records[6], 2));
    expect(second.train_loss).toBe("0.25");
    expect(JSON.parse(second.validation!)).toMatchObject({ _type: "images/separated", captions: ["ü"], count: 1 });
    expect(sub(records[7], 18)!.get(1)).toEqual([1n]);
  });

  it("continues in another folder with the same id", async () => {
    const [first] = tracker();
    await first.init({});
    await first.finish({ succeeded: true });
    rmSync(join(out, "wandb"), { recursive: true });
    const [second] = tracker(first.state(), { WANDB_DIR: join(out, "elsewhere") });
    await second.init({});
    await second.finish({ succeeded: true });
    expect(second.state()).toEqual(first.state());
    expect(readdirSync(join(out, "elsewhere", "wandb"))).toEqual([expect.stringContaining(first.state()!.id!)]);
  });

  it("that cannot be written is an ERR_IO", async () => {
    writeFileSync(join(out, "wandb"), "a file");
    const error = await tracker()[0]
      .init({})
      .catch((reason: unknown) => reason);
    expect(isInstructPix2PixError(error, "ERR_IO"), String(error)).toBe(true);
  });
});

it("records of any length are read as they were written (200 cases)", async () => {
  let files = 0;
  const length = fc.oneof(fc.nat(200), fc.integer({ min: 32_700, max: 32_800 }), fc.nat(100_000));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(length, { maxLength: 4 }), { maxLength: 6 }), async (writes) => {
      const path = join(out, String(files++));
      const log = await TransactionLog.create(path);
      const all: Buffer[] = [];
      for (const lengths of writes) {
        const records = lengths.map((bytes, i) => Buffer.alloc(bytes, i + 1));
        all.push(...records);
        await log.write(records);
      }
      await log.close();
      const found = readLog(readFileSync(path));
      expect(found.length).toBe(all.length);
      found.forEach((record, i) => {
        expect(record.equals(all[i]!)).toBe(true);
      });
    }),
    { numRuns: 200, seed: 8 },
  );
});

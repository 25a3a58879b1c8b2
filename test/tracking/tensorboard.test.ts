import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { RgbImage } from "../../lib/images/rgb-image.js";
import { crc32c } from "../../lib/tracking/tensorboard/crc32c.js";
import { EventFile } from "../../lib/tracking/tensorboard/event-file.js";
import { TensorBoardTracker } from "../../lib/tracking/tensorboard/tensorboard-tracker.js";
import { decode, type Message, records, sub, text } from "./event-reader.js";

let out: string;

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), "ip2p-tensorboard-"));
});

afterEach(() => {
  rmSync(out, { recursive: true, force: true });
});

function tracker(resumeStep = 0, loggingDir = "logs"): TensorBoardTracker {
  return new TensorBoardTracker({ outputDir: out, loggingDir, project: "instruct-pix2pix", resumeStep });
}

function events(folder = join(out, "logs", "instruct-pix2pix")): Message[][] {
  return readdirSync(folder)
    .sort()
    .map((name) => records(readFileSync(join(folder, name))).map((bytes) => decode(bytes)));
}

/** The values of all events of a file, with their steps. */
function values(file: Message[]): { step: number; tag: string; value: Message }[] {
  return file.flatMap((event) =>
    (sub(event, 5)?.get(1) ?? []).map((bytes) => {
      const value = decode(bytes as Buffer);
      return { step: Number(event.get(2)?.[0] ?? 0), tag: text(value, 1)!, value };
    }),
  );
}

describe("event files", () => {
  it("have the checksum of RFC 3720", () => {
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
    expect(crc32c(new Uint8Array(0))).toBe(0);
  });

  it("begin with their version, and with a restart after the step that a run resumes from", async () => {
    const run = tracker(40);
    await run.init({});
    await run.finish({ succeeded: true });
    const folder = join(out, "logs", "instruct-pix2pix");
    expect(readdirSync(folder)).toEqual([expect.stringMatching(/^events\.out\.tfevents\.\d{10}\.[\w.-]+\.\d+\.\d+$/)]);
    const [version, restart] = events()[0]!;
    expect(text(version, 3)).toBe("brain.Event:2");
    expect(version!.get(1)![0]).toBeCloseTo(Date.now() / 1000, -1);
    expect(restart!.get(2)).toEqual([41n]);
    expect(sub(restart, 7)!.get(1)).toEqual([1n]);
  });

  it("hold numbers as scalars, texts as texts, and leave out null", async () => {
    const run = tracker();
    await run.init({});
    await run.log({ train_loss: 0.25, skipped: true, note: "hello *there*", nothing: null, grad_norm: Number.NaN }, 1);
    await run.log({ train_loss: -1e-30 }, 4_000_000_000);
    await run.finish({ succeeded: true });
    const logged = values(events()[0]!).filter(({ tag }) => !/hparams|config/.test(tag));
    expect(logged.map(({ step, tag, value }) => [step, tag, value.get(2)?.[0]])).toEqual([
      [1, "train_loss", 0.25],
      [1, "skipped", 1],
      [1, "note/text_summary", undefined],
      [1, "grad_norm", Number.NaN],
      [4_000_000_000, "train_loss", Math.fround(-1e-30)],
    ]);
    const note = logged[2]!.value;
    expect(text(sub(note, 8), 8)).toBe("hello *there*");
    expect(text(sub(sub(note, 9), 1), 1)).toBe("text");
  });

  it("hold images as PNG with their size, and captions beside them", async () => {
    const run = tracker();
    await run.init({});
    const image = new RgbImage(
      3,
      2,
      Uint8Array.from({ length: 18 }, (_, i) => i * 10),
    );
    await run.images("validation", [{ image, caption: "a" }, { image }], 7);
    await run.finish({ succeeded: true });
    const [first, second, captions] = values(events()[0]!).filter(({ tag }) => tag.startsWith("validation"));
    expect([first!.tag, second!.tag, captions!.tag]).toEqual([
      "validation/0",
      "validation/1",
      "validation/captions/text_summary",
    ]);
    const picture = sub(first!.value, 4)!;
    expect([1, 2, 3].map((field) => picture.get(field)![0])).toEqual([2n, 3n, 3n]);
    expect((await RgbImage.load(picture.get(4)![0] as Buffer)).equals(image)).toBe(true);
    expect(text(sub(captions!.value, 8), 8)).toBe("0. a\n1. ");
  });

  it("hold the options as hyperparameters and as a text, and how the run ended", async () => {
    for (const succeeded of [true, false]) {
      const run = tracker();
      await run.init({ learning_rate: 5e-5, use_ema: true, lr_scheduler: "cosine", revision: null });
      await run.finish({ succeeded });
    }
    const files = events();
    expect(files).toHaveLength(2);
    files.forEach((file, i) => {
      const [start, config, end] = values(file);
      expect([start!.tag, config!.tag, end!.tag]).toEqual([
        "_hparams_/session_start_info",
        "config/text_summary",
        "_hparams_/session_end_info",
      ]);
      const content = (value: Message) => decode(sub(sub(value, 9), 1)!.get(2)![0] as Buffer);
      const entries = sub(content(start!.value), 3)!
        .get(1)!
        .map((bytes) => {
          const entry = decode(bytes as Buffer);
          const [[kind, value]] = [...sub(entry, 2)!] as [[number, unknown[]]];
          return [text(entry, 1), kind, value[0] instanceof Buffer ? value[0].toString() : value[0]];
        });
      expect(entries).toEqual([
        ["learning_rate", 2, 5e-5],
        ["use_ema", 4, 1n],
        ["lr_scheduler", 3, "cosine"],
      ]);
      expect(text(sub(config!.value, 8), 8)).toContain('"lr_scheduler": "cosine"');
      expect(sub(content(end!.value), 4)!.get(1)).toEqual([i === 0 ? 1n : 2n]);
    });
  });

  it("go into another folder if the logs' is absolute", async () => {
    const run = tracker(0, join(out, "elsewhere"));
    await run.init({});
    await run.finish({ succeeded: true });
    expect(events(join(out, "elsewhere", "instruct-pix2pix"))).toHaveLength(1);
  });

  it("contain complete records after a failed write", async ({ skip }) => {
    const limit = (bytes: string) =>
      execFileSync("prlimit", ["--pid", String(process.pid), `--fsize=${bytes}:unlimited`], { stdio: "ignore" });
    try {
      limit("unlimited");
    } catch {
      skip("there is no prlimit here");
    }
    const file = await EventFile.create(out);
    await file.write([Buffer.from("first")]);
    limit("200");
    try {
      await expect(file.write([Buffer.alloc(500)])).rejects.toMatchObject({ code: "EFBIG" });
    } finally {
      limit("unlimited");
    }
    await file.write([Buffer.from("second")]);
    await file.close();
    expect(records(readFileSync(file.path)).slice(1).map(String)).toEqual(["first", "second"]);
  });

  it("that cannot be written are an ERR_IO", async () => {
    writeFileSync(join(out, "logs"), "a file");
    const error = await tracker()
      .init({})
      .catch((reason: unknown) => reason);
    expect(isInstructPix2PixError(error, "ERR_IO"), String(error)).toBe(true);
  });
});

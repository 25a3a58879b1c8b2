import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { MetricsFile } from "../../lib/tracking/metrics-file.js";

let out: string;
let path: string;

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), "ip2p-metrics-"));
  path = join(out, "metrics.jsonl");
});

afterEach(() => {
  rmSync(out, { recursive: true, force: true });
});

function lines(): unknown[] {
  const text = readFileSync(path, "utf8");
  expect(text === "" || text.endsWith("\n")).toBe(true);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

function steps(): number[] {
  return lines().map((line) => (line as { step: number }).step);
}

async function write(resumeStep: number, ...all: number[]): Promise<void> {
  const file = new MetricsFile(out, resumeStep);
  await file.init();
  for (const step of all) await file.log({ train_loss: step / 10 }, step);
  await file.finish();
}

describe("metrics.jsonl", () => {
  it("has one object per step, the step first", async () => {
    const file = new MetricsFile(out, 0);
    await file.init();
    await file.log({ train_loss: 0.5, lr: 1e-4, skipped: false, note: "a\nb ü" }, 1);
    await file.log({ step: 99, train_loss: Number.NaN, grad_norm: Number.POSITIVE_INFINITY, x: null }, 2);
    await file.flush();
    await file.finish();
    expect(readFileSync(path, "utf8")).toBe(
      '{"step":1,"train_loss":0.5,"lr":0.0001,"skipped":false,"note":"a\\nb ü"}\n' +
        '{"step":2,"train_loss":null,"grad_norm":null,"x":null}\n',
    );
  });

  it("creates its folder", async () => {
    const file = new MetricsFile(join(out, "a", "b"), 0);
    await file.init();
    await file.finish();
    expect(readFileSync(file.path, "utf8")).toBe("");
  });

  it("drops the steps after the one that a run resumes from, and none before it", async () => {
    await write(0, 1, 2, 3, 4, 5);
    await write(3, 4);
    expect(steps()).toEqual([1, 2, 3, 4]);
    await write(4);
    expect(steps()).toEqual([1, 2, 3, 4]);
    await write(10, 11);
    expect(steps()).toEqual([1, 2, 3, 4, 11]);
  });

  it("restarts with a new run", async () => {
    await write(0, 1, 2, 3);
    await write(0, 1);
    expect(steps()).toEqual([1]);
  });

  it("refuses a repeated step and an invalid one", async () => {
    const file = new MetricsFile(out, 5);
    await file.init();
    await file.log({}, 6);
    for (const step of [6, 5, 0, -1, 6.5, Number.NaN]) {
      const error = await file.log({}, step).catch((reason: unknown) => reason);
      expect(isInstructPix2PixError(error, "ERR_INTERNAL"), String(step)).toBe(true);
    }
    await file.finish();
    expect(steps()).toEqual([6]);
  });

  it("is repaired after a write was cut off anywhere", async () => {
    await write(0, 1, 2, 3);
    const whole = readFileSync(path);
    for (let length = 0; length <= whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      await write(3, 4);
      const kept = whole.subarray(0, length).toString().split("\n").length - 1;
      expect(steps()).toEqual([...[1, 2, 3].slice(0, kept), 4]);
    }
  });

  it("is repaired with any content: invalid lines are removed, also between others", async () => {
    const good = '{"step":1}\n{"step":2,"a":[1]}\n';
    const bad = [
      "\0\0\0\n",
      "\n",
      "{}\n",
      "null\n",
      "7\n",
      '{"step":"3"}\n',
      '{"step":1}\n',
      '{"step":0}\n',
      '{"step":1.5}\n',
    ];
    for (const line of bad) {
      writeFileSync(path, `${good}${line}{"step":3}\n${"\0".repeat(5000)}`);
      await write(5);
      expect(readFileSync(path, "utf8")).toBe(`${good}{"step":3}\n`);
      expect(readdirSync(out)).toEqual(["metrics.jsonl"]);
    }
    writeFileSync(path, `${good}{"step":3,"a":"${"x".repeat(3 << 20)}"}\n{"step":4}\n`);
    await write(9, 10);
    expect(steps()).toEqual([1, 2, 4, 10]);
  });

  it("never repeats a step, for any content and any resumed step (300 cases)", async () => {
    const line = fc.oneof(
      fc.nat(20).map((step) => `{"step":${step}}\n`),
      fc.string({ maxLength: 12 }),
      fc.constantFrom("\n", "{", "\0", '{"step":'),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 12 }), fc.nat(20), async (content, resumeStep) => {
        writeFileSync(path, content.join(""));
        await write(resumeStep, resumeStep + 1, resumeStep + 2);
        const found = steps();
        expect(found.slice(-2)).toEqual([resumeStep + 1, resumeStep + 2]);
        expect(found).toEqual([...new Set(found)].sort((a, b) => a - b));
        // A second look changes nothing.
        const before = readFileSync(path, "utf8");
        await write(resumeStep + 2);
        expect(readFileSync(path, "utf8")).toBe(before);
      }),
      { numRuns: 300, seed: 4 },
    );
  });

  it("survives kill -9 with at most a broken last line", async () => {
    const program = `
      const { MetricsFile } = await import(${JSON.stringify(pathToFileURL("dist/tracking/metrics-file.js").href)});
      const file = new MetricsFile(process.argv[1], Number(process.argv[2]));
      await file.init();
      for (let step = Number(process.argv[2]) + 1; ; step++) {
        await file.log({ train_loss: 0.5, note: "x".repeat(2000) }, step);
        if (step % 50 === 0) console.log(step);
      }`;
    let resumeStep = 0;
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, ["--input-type=module", "-e", program, out, String(resumeStep)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
      expect(child.exitCode, "the built package in dist/ is older than the sources").toBeNull();
      child.kill("SIGKILL");
      await once(child, "close");
      const whole = readFileSync(path, "utf8").split("\n").slice(0, -1);
      expect(whole.map((line) => JSON.parse(line).step)).toEqual(whole.map((_, i) => i + 1));
      resumeStep = whole.length - 20;
    }
  });

  it("that cannot be written is an ERR_IO, and ends with a whole line", async ({ skip }) => {
    const limit = (bytes: string) =>
      execFileSync("prlimit", ["--pid", String(process.pid), `--fsize=${bytes}:unlimited`], { stdio: "ignore" });
    try {
      limit("unlimited");
    } catch {
      skip("there is no prlimit here");
    }
    const file = new MetricsFile(out, 0);
    await file.init();
    await file.log({ note: "x".repeat(900) }, 1);
    limit("1000");
    try {
      const error = await file.log({ note: "x".repeat(900) }, 2).catch((reason: unknown) => reason);
      expect(isInstructPix2PixError(error, "ERR_IO"), String(error)).toBe(true);
    } finally {
      limit("unlimited");
    }
    expect(steps()).toEqual([1]);
    await file.log({}, 2);
    await file.finish();
    expect(steps()).toEqual([1, 2]);
  });

  describe.skipIf(process.platform === "win32")("that is not a regular file is an ERR_IO at once, naming it:", () => {
    it.each([
      ["a folder", () => mkdirSync(path)],
      ["a named pipe", () => execFileSync("mkfifo", [path])],
      ["a device", () => symlinkSync("/dev/zero", path)],
    ])("%s", async (kind, make) => {
      make();
      const refused = await new MetricsFile(out, 0).init().catch((reason: unknown) => reason);
      expect(isInstructPix2PixError(refused, "ERR_IO"), String(refused)).toBe(true);
      expect((refused as Error).message).toBe(`cannot open "${path}": it is ${kind}, not a regular file`);
    });
  });

  it("can be a link to a file, also to one that does not exist yet", async () => {
    const elsewhere = join(out, "elsewhere.jsonl");
    symlinkSync(elsewhere, path);
    await write(0, 1, 2);
    await write(1, 2);
    expect(steps()).toEqual([1, 2]);
    expect(readFileSync(elsewhere, "utf8")).toBe(readFileSync(path, "utf8"));
  });
});

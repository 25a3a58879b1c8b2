import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { commitCheckpoint } from "../../lib/training/checkpoint/commit.js";
import { latestValidCheckpoint } from "../../lib/training/checkpoint/find.js";
import { tryTo } from "../helpers/try-to.js";

let out: string;

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), "ip2p-checkpoint-"));
});

afterEach(() => {
  rmSync(out, { recursive: true, force: true });
});

const BYTES = 300_000;

async function write(folder: string): Promise<void> {
  writeFileSync(join(folder, "state.json"), "{}");
  writeFileSync(join(folder, "weights"), Buffer.alloc(BYTES, 1));
}

/** Fails to write checkpoint 2 beside checkpoint 1, which must stay as it was. */
async function expectFailure(reason: string, writer = write): Promise<void> {
  const error = await commitCheckpoint(out, 2, writer).catch((failure: unknown) => failure);
  expect(isInstructPix2PixError(error, "ERR_IO"), String(error)).toBe(true);
  expect((error as Error).message).toBe(`cannot write the checkpoint "${join(out, "checkpoint-2")}": ${reason}`);
  expect(readdirSync(out)).toEqual(["checkpoint-1"]);
  expect(await latestValidCheckpoint(out, () => expect.unreachable())).toMatchObject({ step: 1 });
}

describe("on a real disk, the last checkpoint remains and the error is typed", () => {
  it("with a file size limit", async ({ skip }) => {
    const limit = (bytes: string) => tryTo("prlimit", "--pid", String(process.pid), `--fsize=${bytes}:unlimited`);
    skip(!limit("unlimited"), "there is no prlimit here");
    await commitCheckpoint(out, 1, write);
    try {
      limit(String(BYTES / 2));
      await expectFailure("the file would exceed the size limit");
      // Room for the data, not for the manifest.
      limit("100");
      const small = async (folder: string) => writeFileSync(join(folder, "small"), "x");
      await expectFailure("the file would exceed the size limit", small);
    } finally {
      limit("unlimited");
    }
  });

  it("on a full disk", async ({ skip }) => {
    skip(
      !tryTo("mount", "-t", "tmpfs", "-o", `size=${Math.round(BYTES * 1.5)}`, "tmpfs", out),
      "this process may not mount a small disk",
    );
    try {
      await commitCheckpoint(out, 1, write);
      await expectFailure("the disk is full");
      // With room again, the same commit succeeds.
      tryTo("mount", "-o", `remount,size=${BYTES * 4}`, out);
      await commitCheckpoint(out, 2, write);
      tryTo("mount", "-o", "remount,ro", out);
      const error = await commitCheckpoint(out, 3, write).catch((failure: unknown) => failure);
      expect(String(error)).toMatch(/checkpoint-3": the file system is read-only$/);
    } finally {
      execFileSync("umount", [out]);
    }
  });

  it("in a folder that may not be written to", async () => {
    await commitCheckpoint(out, 1, write);
    chmodSync(out, 0o555);
    const isRoot = process.geteuid?.() === 0;
    // Nothing is forbidden to root.
    if (isRoot) process.seteuid!(65534);
    try {
      await expectFailure("permission denied");
    } finally {
      if (isRoot) process.seteuid!(0);
      chmodSync(out, 0o755);
    }
  });
});

describe("a process killed while it writes checkpoints", () => {
  const program = `
    import { writeFileSync, mkdirSync } from "node:fs";
    const { commitCheckpoint } = await import(${JSON.stringify(pathToFileURL("dist/training/checkpoint/commit.js").href)});
    const { latestValidCheckpoint } = await import(${JSON.stringify(pathToFileURL("dist/training/checkpoint/find.js").href)});
    const latest = await latestValidCheckpoint(process.argv[1], ({ error }) => { throw error; });
    for (let step = (latest?.step ?? 0) + 1; ; step++) {
      await commitCheckpoint(process.argv[1], step, async (folder) => {
        mkdirSync(folder + "/unet");
        for (const name of ["state.json", "unet/weights"]) writeFileSync(folder + "/" + name, String(step).repeat(100_000));
      }, { keep: 2 });
      console.log(step);
    }`;

  it("never leaves a broken one, and never loses a finished one", async () => {
    let finished = 0;
    let leftovers = 0;
    for (let round = 0; round < 8; round++) {
      const child = spawn(process.execPath, ["--input-type=module", "-e", program, out], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const first = once(child.stdout, "data");
      child.stdout.on("data", (text: Buffer) => {
        finished = Number(text.toString().trim().split("\n").at(-1));
      });
      await Promise.race([first, once(child, "exit")]);
      expect(child.exitCode, "the built package in dist/ is older than the sources").toBeNull();
      await sleep(Math.random() * 60);
      child.kill("SIGKILL");
      await once(child, "close");
      leftovers += readdirSync(out).filter((name) => name.endsWith(".tmp")).length;
      const latest = await latestValidCheckpoint(out, ({ error }) => expect.unreachable(error.message));
      expect(latest?.step).toBeGreaterThanOrEqual(finished);
      const content = readFileSync(join(latest!.path, "unet", "weights"), "utf8");
      expect(content).toBe(String(latest!.step).repeat(100_000));
      expect(readdirSync(out).length).toBeLessThanOrEqual(3);
    }
    // The kills did hit the middle of a commit.
    expect(leftovers).toBeGreaterThan(0);
  });
});

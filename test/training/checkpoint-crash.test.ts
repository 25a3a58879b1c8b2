import { describe, expect, it } from "vitest";
import { type InstructPix2PixError, isInstructPix2PixError } from "../../lib/core/errors.js";
import type { FileSystem } from "../../lib/files/file-system.js";
import { type CommitOptions, commitCheckpoint } from "../../lib/training/checkpoint/commit.js";
import { latestValidCheckpoint } from "../../lib/training/checkpoint/find.js";
import { findCheckpoints } from "../../lib/training/checkpoint/survey.js";
import { verifyCheckpoint } from "../../lib/training/checkpoint/verify.js";
import { type Interference, interfering, Killed, MemoryDisk } from "./checkpoint-memory-disk.js";

const OUT = "/runs/out";

/** What the run computed by a step; `run` tells apart what two runs wrote at the same one. */
function contentOf(step: number, run: string): Record<string, string> {
  return {
    "unet/config.json": `{"step":${step}}`,
    "unet/diffusion_pytorch_model.safetensors": `weights ${step} ${run} `.repeat(20),
    "optimizer.safetensors": `moments ${step} ${run} `.repeat(40),
  };
}

/** Writes as the native writer does: no file is synced. */
function writer(fs: FileSystem, step: number, run: string) {
  return async (folder: string): Promise<void> => {
    await fs.mkdir(`${folder}/unet`);
    for (const [name, text] of Object.entries(contentOf(step, run))) {
      const file = await fs.open(`${folder}/${name}`, "wx");
      for (let rest: Uint8Array = Buffer.from(text); rest.length > 0; ) rest = rest.subarray(await file.write(rest));
      await file.close();
    }
  };
}

async function commit(fs: FileSystem, step: number, run: string, options: CommitOptions = {}) {
  return commitCheckpoint(OUT, step, writer(fs, step, run), { ...options, fs });
}

/** Every situation that a commit can find, and the checkpoint that was the latest before. */
const scenarios: {
  name: string;
  step: number;
  before: { step: number; run: string } | undefined;
  make(): Promise<MemoryDisk>;
}[] = [
  {
    name: "the first checkpoint, in a folder that does not exist yet",
    step: 5,
    before: undefined,
    make: async () => new MemoryDisk(),
  },
  {
    name: "one more checkpoint, of which the first of three goes",
    step: 15,
    before: { step: 10, run: "first" },
    make: async () => {
      const disk = new MemoryDisk();
      for (const step of [5, 10]) await commit(disk, step, "first");
      return disk;
    },
  },
  {
    name: "a checkpoint in place of another of the same step",
    step: 10,
    before: { step: 10, run: "first" },
    make: async () => {
      const disk = new MemoryDisk();
      for (const step of [5, 10]) await commit(disk, step, "first");
      return disk;
    },
  },
  {
    name: "the only checkpoint replaced, after an attempt that was killed between its renames",
    step: 10,
    before: { step: 10, run: "first" },
    make: async () => {
      const disk = new MemoryDisk();
      await commit(disk, 10, "first");
      let renames = 0;
      const dying = interfering(disk, (_, name) => {
        if (name === "rename") renames++;
        if (renames > 1) throw new Killed();
      });
      await expect(commit(dying, 10, "first")).rejects.toThrow(Killed);
      return disk;
    },
  },
];

const KEEP = { keep: 2 };

/** The content of a checkpoint as a reader of the disk sees it. */
function contentAt(disk: MemoryDisk, path: string): Record<string, string> {
  const inside = [...disk.dump()].filter(([name]) => name.startsWith(`${path}/`) && !name.endsWith("/"));
  return Object.fromEntries(inside.map(([name, text]) => [name.slice(path.length + 1), text]));
}

function temporaries(disk: MemoryDisk): string[] {
  return [...disk.dump().keys()].filter((name) => name.includes(".tmp"));
}

/** Finds the latest checkpoint as a new process would, and what it holds: of which step and run. */
async function recover(disk: MemoryDisk): Promise<{ step: number; run: string } | undefined> {
  const latest = await latestValidCheckpoint(OUT, ({ error }) => expect.unreachable(error.message), { fs: disk });
  expect(temporaries(disk)).toEqual([]);
  for (const { path } of await findCheckpoints(OUT, disk)) await verifyCheckpoint(path, { fs: disk });
  if (!latest) return undefined;
  const { "manifest.json": _, ...content } = contentAt(disk, latest.path);
  const run = ["first", "second"].find((name) => content["optimizer.safetensors"]?.includes(name))!;
  expect(content).toEqual(contentOf(latest.step, run));
  return { step: latest.step, run };
}

async function countCalls(disk: MemoryDisk, step: number): Promise<number> {
  const fs = interfering(disk.settled(), () => {});
  await commit(fs, step, "second", KEEP);
  return fs.calls();
}

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

/** How calls go wrong from number `n` on. */
const faults: { name: string; forGood?: true; of(n: number): Interference }[] = [
  ...["ENOSPC", "EIO"].map((code) => ({
    name: `${code} once`,
    of: (n: number) => (call: number) => {
      if (call === n) throw errno(code);
    },
  })),
  {
    name: "ENOSPC for good, as a full disk still lets files be removed",
    // Even the rename that would undo another one fails then.
    forGood: true,
    of: (n) => (call, name) => {
      if (call >= n && ["mkdir", "open", "write", "sync", "rename"].includes(name)) throw errno("ENOSPC");
    },
  },
];

describe.each(scenarios)("$name", ({ step, before, make }) => {
  it.each(faults)("an error at any system call ($name) is typed, and nothing has changed", async ({ of, forGood }) => {
    const start = await make();
    const total = await countCalls(start, step);
    expect(total).toBeGreaterThan(40);
    let failed = 0;
    for (let n = 1; n <= total; n++) {
      const disk = start.settled();
      const untouched = disk.dump();
      const fs = interfering(disk, of(n));
      const outcome = await commit(fs, step, "second", KEEP).catch((error: unknown) => error);
      if (outcome instanceof Error) {
        failed++;
        expect(isInstructPix2PixError(outcome, "ERR_IO"), String(outcome)).toBe(true);
        expect(outcome.message).toContain(`"${OUT}/checkpoint-${step}"`);
        // Only the last sync fails when the checkpoint is in place.
        const inPlace = contentAt(disk, `${OUT}/checkpoint-${step}`)["optimizer.safetensors"]?.includes("second");
        if (!inPlace && !forGood) {
          for (const [path, text] of untouched) if (!path.includes(".tmp")) expect(disk.dump().get(path)).toBe(text);
          const left = temporaries(disk).filter((path) => !untouched.has(path));
          expect(left, `after call ${n}`).toEqual([]);
        }
        expect(await recover(disk)).toEqual(inPlace ? { step, run: "second" } : before);
      } else {
        const { unpruned } = outcome as Awaited<ReturnType<typeof commit>>;
        for (const { error } of unpruned) expect(isInstructPix2PixError(error, "ERR_IO")).toBe(true);
        expect(await recover(disk)).toEqual({ step, run: "second" });
      }
    }
    expect(failed).toBeGreaterThan(30);
  });

  it("a process killed at any system call leaves the earlier or the new checkpoint complete", async () => {
    const start = await make();
    const total = await countCalls(start, step);
    const seen = new Set<string>();
    for (let n = 1; n <= total + 1; n++) {
      const disk = start.settled();
      const fs = interfering(disk, (call) => {
        if (call >= n) throw new Killed();
      });
      const done = await commit(fs, step, "second", KEEP).then(
        () => true,
        () => false,
      );
      const found = await recover(disk);
      seen.add(found ? found.run : "none");
      if (done) expect(found).toEqual({ step, run: "second" });
      else if (found?.run !== "second") expect(found).toEqual(before);
    }
    expect(seen).toEqual(new Set([before?.run ?? "none", "second"]));
  });

  it("so does a power cut at any system call, with any data that was not yet synced lost", async () => {
    const start = await make();
    const total = await countCalls(start, step);
    let state = 1;
    const random = (limit: number) => (state = (state * 48271) % 0x7fffffff) % limit;
    for (let n = 1; n <= total + 1; n++)
      for (let round = 0; round < 2; round++) {
        const disk = start.settled();
        const fs = interfering(disk, (call) => {
          if (call >= n) throw new Killed();
        });
        const done = await commit(fs, step, "second", KEEP).then(
          () => true,
          () => false,
        );
        const found = await recover(disk.afterPowerCut(random));
        if (done) expect(found, `after call ${n}`).toEqual({ step, run: "second" });
        else if (found?.run !== "second") expect(found, `after call ${n}`).toEqual(before);
      }
  });
});

describe("looking for the latest checkpoint", () => {
  it("if a process is killed at any system call while cleaning up, the next one finds the same checkpoint", async () => {
    const leftovers = async () => {
      const disk = new MemoryDisk();
      for (const step of [5, 10]) await commit(disk, step, "first");
      let renames = 0;
      const dying = interfering(disk, (_, name) => {
        if (name === "rename") renames++;
        if (renames > 1) throw new Killed();
      });
      await expect(commit(dying, 10, "second")).rejects.toThrow(Killed);
      const writing = interfering(disk, (call) => {
        if (call > 12) throw new Killed();
      });
      await expect(commit(writing, 15, "second")).rejects.toThrow(Killed);
      return disk;
    };
    const counting = interfering(await leftovers(), () => {});
    await latestValidCheckpoint(OUT, () => {}, { fs: counting });
    expect(counting.calls()).toBeGreaterThan(30);
    for (let n = 1; n <= counting.calls(); n++) {
      const disk = await leftovers();
      const dying = interfering(disk, (call) => {
        if (call >= n) throw new Killed();
      });
      await latestValidCheckpoint(OUT, () => {}, { fs: dying }).catch(() => {});
      expect(await recover(disk)).toEqual({ step: 10, run: "second" });
    }
  });

  it("an error unrelated to the checkpoint does not mark it as broken", async () => {
    const disk = new MemoryDisk();
    for (const step of [5, 10]) await commit(disk, step, "first");
    const counting = interfering(disk, () => {});
    await latestValidCheckpoint(OUT, () => {}, { fs: counting });
    for (let n = 1; n <= counting.calls(); n++) {
      const fs = interfering(disk, (call) => {
        if (call === n) throw errno("EMFILE");
      });
      const look = latestValidCheckpoint(OUT, () => expect.unreachable(), { fs });
      await expect(look).rejects.toSatisfy((error) => isInstructPix2PixError(error, "ERR_IO"));
    }
  });

  it("an unreadable file makes its checkpoint broken", async () => {
    const disk = new MemoryDisk();
    for (const step of [5, 10]) await commit(disk, step, "first");
    let once = true;
    const fs = interfering(disk, (_, name) => {
      if (name === "sha256" && once) {
        once = false;
        throw errno("EIO");
      }
    });
    const broken: InstructPix2PixError[] = [];
    const latest = await latestValidCheckpoint(OUT, ({ error }) => void broken.push(error), { fs });
    expect(latest?.step).toBe(5);
    expect(broken.map(({ message }) => message)).toEqual([`${OUT}/checkpoint-10: the disk cannot read it (EIO)`]);
  });
});

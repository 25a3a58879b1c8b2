import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ErrorCode, isInstructPix2PixError } from "../../lib/core/errors.js";
import { sha256OfFiles } from "../../lib/files/sha256.js";
import { commitCheckpoint } from "../../lib/training/checkpoint/commit.js";
import { type BrokenCheckpoint, latestValidCheckpoint } from "../../lib/training/checkpoint/find.js";
import { findCheckpoints } from "../../lib/training/checkpoint/survey.js";
import { verifyCheckpoint } from "../../lib/training/checkpoint/verify.js";

let out: string;

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), "ip2p-checkpoint-"));
});

afterEach(() => {
  rmSync(out, { recursive: true, force: true });
});

const FILES: Record<string, string> = {
  "optimizer.safetensors": "moments".repeat(3000),
  "state.json": "{}",
  "unet/config.json": '{"in_channels":8}',
  "unet/diffusion_pytorch_model.safetensors": "weights".repeat(5000),
  "unet_ema/empty": "",
};

async function write(folder: string): Promise<void> {
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

function names(): string[] {
  return readdirSync(out).sort();
}

async function expectError(promise: Promise<unknown>, code: ErrorCode, message: string | RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(isInstructPix2PixError(error, code), String(error)).toBe(true);
  expect((error as Error).message).toMatch(message);
  expect((error as Error).message).not.toContain("\n");
}

describe("a committed checkpoint", () => {
  it("holds what was written, and a manifest with the size and SHA-256 of each file", async () => {
    const { path, manifest, pruned, unpruned } = await commitCheckpoint(out, 12, write);
    expect({ path, pruned, unpruned }).toEqual({ path: join(out, "checkpoint-12"), pruned: [], unpruned: [] });
    expect(names()).toEqual(["checkpoint-12"]);
    const json = JSON.parse(readFileSync(join(path, "manifest.json"), "utf8"));
    expect(json).toMatchObject({ format: "instruct-pix2pix checkpoint", format_version: 1, step: 12 });
    expect(json.package_version).toBe(JSON.parse(readFileSync("package.json", "utf8")).version);
    expect(Object.keys(json.files)).toEqual(Object.keys(FILES).sort());
    for (const [name, text] of Object.entries(FILES)) {
      expect(readFileSync(join(path, name), "utf8")).toBe(text);
      const sha256 = createHash("sha256").update(text).digest("hex");
      expect(json.files[name]).toEqual({ size: text.length, sha256 });
    }
    expect(await verifyCheckpoint(path)).toEqual(manifest);
    expect(await verifyCheckpoint(`${path}/`)).toEqual(manifest);
  });

  it("replaces one of the same step, and leftovers of an earlier attempt", async () => {
    await commitCheckpoint(out, 3, write);
    mkdirSync(join(out, "checkpoint-3.tmp", "unet"), { recursive: true });
    writeFileSync(join(out, "checkpoint-3.tmp", "unet", "half"), "x");
    await commitCheckpoint(out, 3, async (folder) => writeFileSync(join(folder, "only"), "new"));
    expect(names()).toEqual(["checkpoint-3"]);
    expect(readdirSync(join(out, "checkpoint-3")).sort()).toEqual(["manifest.json", "only"]);
  });

  it("creates the folders around it", async () => {
    await commitCheckpoint(join(out, "a", "b"), 1, write);
    expect(await latestValidCheckpoint(join(out, "a", "b"), () => expect.unreachable())).toMatchObject({ step: 1 });
  });

  it("prunes the oldest by step number, and only checkpoints", async () => {
    const others = [
      "checkpoint-",
      "checkpoint-x",
      "checkpoint-07",
      "checkpoint-1.5",
      "checkpoint--1",
      "my-checkpoint-1",
    ];
    for (const name of others) mkdirSync(join(out, name));
    writeFileSync(join(out, "checkpoint-2"), "a file of that name");
    mkdirSync(join(out, "elsewhere"));
    symlinkSync(join(out, "elsewhere"), join(out, "checkpoint-3"));
    for (const step of [9, 10, 100]) await commitCheckpoint(out, step, write, { keep: 3 });
    const { pruned } = await commitCheckpoint(out, 101, write, { keep: 3 });
    expect(pruned).toEqual([join(out, "checkpoint-9")]);
    expect((await findCheckpoints(out)).map(({ step }) => step)).toEqual([10, 100, 101]);
    for (const name of [...others, "checkpoint-2", "checkpoint-3", "elsewhere"]) expect(names()).toContain(name);
  });

  it("is never pruned itself, although a later one exists", async () => {
    for (const step of [10, 20]) await commitCheckpoint(out, step, write);
    const { pruned } = await commitCheckpoint(out, 5, write, { keep: 1 });
    expect(pruned).toEqual([join(out, "checkpoint-10"), join(out, "checkpoint-20")]);
    expect(names()).toEqual(["checkpoint-5"]);
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 53])("is refused for step %d", (step) =>
    expectError(commitCheckpoint(out, step, write), "ERR_INVALID_ARGUMENT", /whole number/),
  );

  it("is refused with a limit below 1", () =>
    expectError(commitCheckpoint(out, 1, write, { keep: 0 }), "ERR_INVALID_ARGUMENT", /at least one/));
});

describe("a checkpoint that cannot be written leaves nothing behind", () => {
  afterEach(async () => {
    expect(names()).toEqual(["checkpoint-1"]);
    await verifyCheckpoint(join(out, "checkpoint-1"));
  });

  beforeEach(async () => {
    await commitCheckpoint(out, 1, write);
  });

  it("because its writer throws, whose error comes through", async () => {
    const failure = new RangeError("of the writer");
    const failing = commitCheckpoint(out, 2, async (folder) => {
      await write(folder);
      throw failure;
    });
    await expect(failing).rejects.toBe(failure);
  });

  it("because its writer gets a file system error", () =>
    expectError(
      commitCheckpoint(out, 2, async (folder) => writeFileSync(join(folder, "no", "such", "folder"), "")),
      "ERR_IO",
      /^cannot write the checkpoint ".*checkpoint-2": it does not exist$/,
    ));

  it("because nothing was written", () =>
    expectError(
      commitCheckpoint(out, 2, async () => {}),
      "ERR_CHECKPOINT",
      /nothing was written/,
    ));

  it.each(["manifest.json", "a:b", "trailing.", "back\\slash", "line\nfeed"])("because of a file named %j", (name) =>
    expectError(
      commitCheckpoint(out, 2, async (folder) => writeFileSync(join(folder, name), "x")),
      "ERR_CHECKPOINT",
      /is not a name for a file in a checkpoint/,
    ),
  );

  it("because of a link", () =>
    expectError(
      commitCheckpoint(out, 2, async (folder) => symlinkSync("/etc/passwd", join(folder, "link"))),
      "ERR_CHECKPOINT",
      /link: is not a regular file/,
    ));

  it("because it was aborted before, while or after its files were written", async () => {
    const reason = new Error("enough");
    await expectError(commitCheckpoint(out, 2, write, { signal: AbortSignal.abort(reason) }), "ERR_ABORTED", "");
    const controller = new AbortController();
    const aborting = async (folder: string) => {
      await write(folder);
      controller.abort(reason);
    };
    await expectError(commitCheckpoint(out, 2, aborting, { signal: controller.signal }), "ERR_ABORTED", "");
    const hashing = new AbortController();
    const large = async (folder: string) => {
      writeFileSync(join(folder, "large"), Buffer.alloc(200 << 20));
      setTimeout(() => hashing.abort(reason), 20);
    };
    await expectError(commitCheckpoint(out, 2, large, { signal: hashing.signal }), "ERR_ABORTED", "");
  });
});

describe("verifying a checkpoint", () => {
  let path: string;

  beforeEach(async () => {
    ({ path } = await commitCheckpoint(out, 7, write));
  });

  const weights = "unet/diffusion_pytorch_model.safetensors";

  it("finds a missing file", async () => {
    unlinkSync(join(path, weights));
    await expectError(verifyCheckpoint(path), "ERR_CHECKPOINT", `${path}: ${weights} is missing`);
  });

  it("finds a truncated file", async () => {
    truncateSync(join(path, weights), 100);
    await expectError(verifyCheckpoint(path), "ERR_CHECKPOINT", `${weights} has 100 bytes where 35000 were written`);
  });

  it("finds a file that grew", async () => {
    appendFileSync(join(path, "unet_ema/empty"), "x");
    await expectError(verifyCheckpoint(path), "ERR_CHECKPOINT", "unet_ema/empty has 1 bytes where 0 were written");
  });

  it("finds any single flipped bit, in the manifest too", async () => {
    const files = [...Object.keys(FILES).filter((name) => FILES[name]), "manifest.json"];
    for (const name of files) {
      const bytes = readFileSync(join(path, name));
      for (let i = 0; i < 5; i++) {
        const damaged = Buffer.from(bytes);
        const at = Math.floor(((i + 0.5) / 5) * bytes.length);
        damaged[at]! ^= 1 << (i % 8);
        writeFileSync(join(path, name), damaged);
        await expectError(verifyCheckpoint(path), "ERR_CHECKPOINT", name);
      }
      writeFileSync(join(path, name), bytes);
    }
    await verifyCheckpoint(path);
  });

  it("finds a file that is not in the manifest, but passes over those of operating systems", async () => {
    writeFileSync(join(path, "unet", ".DS_Store"), "x");
    writeFileSync(join(path, "Thumbs.db"), "x");
    await verifyCheckpoint(path);
    writeFileSync(join(path, "unet", "diffusion_pytorch_model.safetensors.index.json"), "{}");
    await expectError(verifyCheckpoint(path), "ERR_CHECKPOINT", /index\.json is not in its manifest/);
  });

  it("finds that it was never completed, or is another step's", async () => {
    renameSync(path, join(out, "checkpoint-8"));
    await expectError(verifyCheckpoint(join(out, "checkpoint-8")), "ERR_CHECKPOINT", "its manifest is of step 7");
    unlinkSync(join(out, "checkpoint-8", "manifest.json"));
    await expectError(verifyCheckpoint(join(out, "checkpoint-8")), "ERR_CHECKPOINT", "was never completed");
  });

  it("accepts a copy under any other name", async () => {
    renameSync(path, join(out, "the-good-one"));
    expect((await verifyCheckpoint(join(out, "the-good-one"))).step).toBe(7);
  });

  it("reports a missing path, or a file", async () => {
    await expectError(verifyCheckpoint(join(out, "none")), "ERR_FILE_NOT_FOUND", "the checkpoint does not exist");
    await expectError(verifyCheckpoint(join(path, "state.json")), "ERR_CHECKPOINT", "is not a folder");
  });

  it("follows no link inside, and opens no pipe", async () => {
    unlinkSync(join(path, "state.json"));
    symlinkSync(join(path, "unet", "config.json"), join(path, "state.json"));
    await expectError(verifyCheckpoint(path), "ERR_CHECKPOINT", "state.json: is not a regular file");
    unlinkSync(join(path, "state.json"));
    execFileSync("mkfifo", [join(path, "state.json")]);
    await expectError(verifyCheckpoint(path), "ERR_CHECKPOINT", "state.json: is not a regular file");
  });

  it("refuses a manifest of more than 16 MiB before reading it all", async () => {
    truncateSync(join(path, "manifest.json"), 17 << 20);
    await expectError(verifyCheckpoint(path), "ERR_CHECKPOINT", "manifest.json has more than");
  });
});

describe("the latest valid checkpoint", () => {
  it("is undefined if the folder does not exist", async () => {
    expect(await latestValidCheckpoint(join(out, "none"), () => expect.unreachable())).toBeUndefined();
    expect(await findCheckpoints(join(out, "none"))).toEqual([]);
  });

  it("is the newest intact one; each newer broken one is reported", async () => {
    for (const step of [8, 9, 10, 11]) await commitCheckpoint(out, step, write);
    truncateSync(join(out, "checkpoint-11", "state.json"), 1);
    unlinkSync(join(out, "checkpoint-10", "manifest.json"));
    const broken: BrokenCheckpoint[] = [];
    const latest = await latestValidCheckpoint(out, (one) => void broken.push(one));
    expect(latest).toMatchObject({ step: 9, path: join(out, "checkpoint-9") });
    expect(broken.map(({ step, error }) => [step, error.code])).toEqual([
      [11, "ERR_CHECKPOINT"],
      [10, "ERR_CHECKPOINT"],
    ]);
    for (const step of [8, 9]) rmSync(join(out, `checkpoint-${step}`), { recursive: true });
    expect(await latestValidCheckpoint(out, () => {})).toBeUndefined();
  });

  it("is looked for after removing stale folders, and only those", async () => {
    await commitCheckpoint(out, 1, write);
    const kept = ["notes.tmp", "checkpoint-x.tmp", "checkpoint-1.backup"];
    for (const name of [...kept, "checkpoint-2.tmp", "checkpoint-1.pruned.tmp"])
      mkdirSync(join(out, name, "sub"), { recursive: true });
    await latestValidCheckpoint(out, () => expect.unreachable());
    expect(names()).toEqual(["checkpoint-1", ...kept].sort());
  });

  it("reports that the path is not a folder", async () => {
    writeFileSync(join(out, "file"), "");
    await expectError(
      latestValidCheckpoint(join(out, "file"), () => {}),
      "ERR_IO",
      "it is not a folder",
    );
  });
});

describe("hashing", () => {
  it("agrees with node:crypto for many sizes, and leaves the event loop free", async () => {
    const sizes = [0, 1, 63, 64, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 32 << 20];
    const files = sizes.map((size, i) => {
      const path = join(out, String(i));
      writeFileSync(path, Buffer.alloc(size, i));
      return path;
    });
    let turns = 0;
    let immediate = setImmediate(function turn() {
      turns++;
      immediate = setImmediate(turn);
    });
    const hashes = await sha256OfFiles(files);
    clearImmediate(immediate);
    sizes.forEach((size, i) => {
      const sha256 = createHash("sha256").update(Buffer.alloc(size, i)).digest("hex");
      expect(hashes[i]).toEqual({ size, sha256 });
    });
    // Every quarter of a megabyte is read by itself, and the loop turns meanwhile.
    expect(turns).toBeGreaterThan((32 << 20) / (1 << 18) / 2);
  });

  it("stops at a signal, in the middle of a file", async () => {
    const path = join(out, "long");
    writeFileSync(path, Buffer.alloc(16 << 20));
    const abort = new AbortController();
    const hashes = sha256OfFiles([path, path], abort.signal);
    setImmediate(() => abort.abort());
    await expect(hashes).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("fails with Node's code for a missing file", async () => {
    writeFileSync(join(out, "a"), "");
    await expect(sha256OfFiles([join(out, "a"), join(out, "b")])).rejects.toMatchObject({ code: "ENOENT" });
    expect(await sha256OfFiles([])).toEqual([]);
    expect(existsSync(join(out, "b"))).toBe(false);
  });
});

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type * as FsPromises from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { writeFileAtomically } from "../../lib/images/write-file.js";
import { expectError } from "./fixtures.js";

const fault = vi.hoisted(() => ({ at: "", code: "" }));

/** The real file system, except that the operation named in `fault` fails, the write after half of its bytes. */
vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof FsPromises>();
  const failing = () => Object.assign(new Error(`${fault.code}: injected`), { code: fault.code });
  const open = async (...args: Parameters<typeof real.open>) => {
    if (fault.at === "open") throw failing();
    const file = await real.open(...args);
    const { writeFile, sync } = file;
    file.writeFile = async (data) => {
      if (fault.at !== "write") return writeFile.call(file, data);
      await writeFile.call(file, (data as Uint8Array).subarray(0, (data as Uint8Array).length / 2));
      throw failing();
    };
    file.sync = async () => {
      if (fault.at === "sync") throw failing();
      return sync.call(file);
    };
    return file;
  };
  const rename = async (...args: Parameters<typeof real.rename>) => {
    if (fault.at === "rename") throw failing();
    return real.rename(...args);
  };
  return { ...real, open, rename };
});

const folder = mkdtempSync(join(tmpdir(), "ip2p-write-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe.each([
  ["ENOSPC", /the disk is full/],
  ["EIO", /EIO/],
  ["EROFS", /read-only/],
  ["EACCES", /permission denied/],
])("%s", (code, message) => {
  it.each(["open", "write", "sync", "rename"])("at %s leaves the old file and nothing else", async (at) => {
    const path = join(folder, "a.png");
    writeFileSync(path, "old");
    Object.assign(fault, { at, code });
    await expectError(writeFileAtomically(path, Buffer.from("new content")), "ERR_IO", message);
    Object.assign(fault, { at: "", code: "" });
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["a.png"]);

    await writeFileAtomically(path, Buffer.from("new content"));
    expect(readFileSync(path, "utf8")).toBe("new content");
  });
});

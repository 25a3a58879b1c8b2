import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { resolveLibtorch } from "../../lib/runtime/libtorch/find.js";
import { packageRoot, sharedLibraryName } from "../../lib/runtime/platform.js";
import { runChild } from "./child.js";
import { copyPackage } from "./package-copy.js";

let folder: string;
const at = (...path: string[]) => join(folder, ...path);

/** A second installation of the package, with its own addon file. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-copies-"));
  copyPackage(at("copy"));
  symlinkSync(join(packageRoot, "node_modules"), at("node_modules"), "junction");
  symlinkSync(packageRoot, at("linked"), "junction");

  const { root } = resolveLibtorch();
  mkdirSync(at("libtorch", "lib"), { recursive: true });
  for (const file of readdirSync(root)) if (file !== "lib") symlinkSync(join(root, file), at("libtorch", file));
  for (const file of readdirSync(join(root, "lib"))) symlinkSync(join(root, "lib", file), at("libtorch", "lib", file));
  rmSync(at("libtorch", "lib", sharedLibraryName("c10")));
  copyFileSync(join(root, "lib", sharedLibraryName("c10")), at("libtorch", "lib", sharedLibraryName("c10")));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function together(second: string, what: string, nodeOptions: string[] = []) {
  const { status, stdout, stderr } = await runChild("two-copies.mjs", [packageRoot, second, what, at("libtorch")], {
    nodeOptions,
  });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

test.each(["copy", "linked"])("a second copy computes beside the first, in one thread: %s", async (second) => {
  const result = await together(at(second), "thread", second === "linked" ? ["--preserve-symlinks"] : []);
  expect(result).toMatchObject({ second: result.first, again: result.first, beside: result.first });
  // What belongs to one copy's addon never passes for the other's.
  const codes = Object.values(result.foreign);
  expect(codes).toHaveLength(4);
  if (second === "copy") expect(new Set(codes)).toEqual(new Set(["ERR_INVALID_ARGUMENT"]));
});

test("a second copy computes beside the first, in a worker thread", async () => {
  const result = await together(at("copy"), "worker");
  expect(result).toMatchObject({ second: result.first, again: result.first });
});

test("a second copy with another libtorch is refused, and the first continues to work", async () => {
  const result = await together(at("copy"), "libtorch");
  expect(result.error).toMatchObject({ code: "ERR_LIBTORCH", message: expect.stringContaining("set LIBTORCH to") });
  expect(result.again).toBe(result.first);
});

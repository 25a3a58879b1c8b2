import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { detectLibc } from "../../lib/runtime/libc.js";
import { packageRoot } from "../../lib/runtime/platform.js";

/** What a process finds out whose report is this one, without `ldd`, and where no program may be started. */
function detectedWith(report: object): unknown {
  const program = `
    const fs = require("node:fs");
    const { openSync } = fs;
    fs.openSync = (path, ...rest) => {
      if (/ldd$|self.exe$/.test(String(path))) throw new Error("no such file");
      return openSync(path, ...rest);
    };
    const started = [];
    const children = require("node:child_process");
    for (const name of ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync"])
      children[name] = (command) => (started.push(command), "");
    process.report.getReport = () => (${JSON.stringify(report)});
    import(process.argv[1]).then(({ platformAbi, assertSupportedPlatform }) => {
      let refused = "";
      try {
        assertSupportedPlatform();
      } catch (error) {
        refused = error.message;
      }
      console.log(JSON.stringify({ abi: platformAbi(), refused: refused.slice(0, 20), started }));
    });`;
  const module = join(packageRoot, "dist", "runtime", "platform.js");
  const { stdout, stderr } = spawnSync(process.execPath, ["-e", program, module], { encoding: "utf8" });
  return JSON.parse(stdout || JSON.stringify(stderr));
}

describe.runIf(process.platform === "linux")("the C library", () => {
  it("is this process's own", () => {
    const { family, version } = detectLibc();
    expect(["glibc", "musl"]).toContain(family);
    if (family === "glibc") expect(version).toMatch(/^2\.\d+$/);
  });

  it.each([
    ["glibc", { header: { glibcVersionRuntime: "2.36" }, sharedObjects: ["/lib64/libc.so.6"] }, "gnu", ""],
    ["an old glibc", { header: { glibcVersionRuntime: "2.17" } }, "gnu", "this system is too o"],
    ["musl", { header: {}, sharedObjects: ["/lib/ld-musl-x86_64.so.1"] }, "musl", "this Linux uses the "],
    [
      "musl by its other name",
      { header: {}, sharedObjects: ["/lib/libc.musl-x86_64.so.1"] },
      "musl",
      "this Linux uses the ",
    ],
    ["one that is unknown", { header: {}, sharedObjects: ["/home/x/ld-musl-/lib.so"] }, "gnu", ""],
    ["nothing", {}, "gnu", ""],
  ])("is found in Node's report, without starting a program: %s", (_, report, abi, refused) => {
    expect(detectedWith(report)).toEqual({ abi: `linux-${process.arch}-${abi}`, refused, started: [] });
  });
});

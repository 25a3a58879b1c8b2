import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { describeDiagnosis, doctorCommand } from "../../lib/cli/doctor.js";
import { type Diagnosis, diagnose } from "../../lib/runtime/diagnose.js";
import { availableMemory, readLimits, usableCores } from "../../lib/runtime/host.js";
import { libtorchFiles, temporaryFolder, writeTree } from "../runtime/libtorch/fixtures.js";
import { recordingIo } from "./io.js";

describe("ip2p doctor", () => {
  it("shows everything, and succeeds if everything is installed", async () => {
    const io = recordingIo(process.env);
    expect(await doctorCommand.execute([], io)).toBe(0);
    for (const row of [
      "Node.js",
      "platform",
      "processor",
      "instructions",
      "memory",
      "libtorch",
      "addon",
      "loading",
      "kernels",
      "half precision",
      "CUDA driver",
      "cache",
    ])
      expect(io.out()).toMatch(new RegExp(`^${row} +\\S`, "m"));
    expect(io.out()).toContain(`Node.js         ${process.version}`);
    expect(io.out()).toMatch(/^loading +works$/m);
    expect(io.out()).toMatch(/everything needed is installed\n$/);
  });

  it("prints the same as JSON", async () => {
    const io = recordingIo(process.env);
    expect(await doctorCommand.execute(["--json"], io)).toBe(0);
    const report = JSON.parse(io.out()) as Diagnosis;
    expect(report).toMatchObject({ ok: true, problems: [], node: { version: process.version }, loading: { ok: true } });
    expect(report.libtorch?.version).toMatch(/^2\.1[1-4]\./);
    expect(report.host.cores).toBeGreaterThan(0);
    expect(report.cache.freeBytes).toBeGreaterThan(0);
  });

  it("ends with 1 and the remedy if libtorch is missing, and still shows the rest", async () => {
    const folder = join(temporaryFolder(), "cache");
    const io = recordingIo({ INSTRUCT_PIX2PIX_CACHE: folder });
    expect(await doctorCommand.execute([], io)).toBe(1);
    expect(io.out()).toMatch(/^libtorch +not found$/m);
    expect(io.out()).toMatch(/^loading +not tried$/m);
    expect(io.out()).toMatch(/^ERR_LIBTORCH_NOT_FOUND: .*npx ip2p install/m);
    expect(io.out()).toContain(folder);
    const json = recordingIo({ INSTRUCT_PIX2PIX_CACHE: folder });
    expect(await doctorCommand.execute(["--json"], json)).toBe(1);
    expect(JSON.parse(json.out())).toMatchObject({
      ok: false,
      libtorch: null,
      problems: [{ part: "libtorch", code: "ERR_LIBTORCH_NOT_FOUND" }],
    });
  });

  it("ends with 1 if libtorch does not load", async () => {
    const libtorch = writeTree(temporaryFolder(), libtorchFiles());
    const io = recordingIo(process.env);
    expect(await doctorCommand.execute(["--libtorch", libtorch], io)).toBe(1);
    expect(io.out()).toMatch(/^loading +fails: .*libc10\.so/m);
  });

  it.runIf(process.platform === "linux")("says that a system is too old", async () => {
    const report = await diagnose({}, { family: "glibc", version: "2.17" });
    expect(report.problems[0]).toMatchObject({ part: "platform", code: "ERR_LIBTORCH" });
    const text = describeDiagnosis(report);
    expect(text).toMatch(/^platform +.*C library 2\.17 \(2\.28 or newer is needed\)$/m);
    expect(text).toMatch(/^ERR_LIBTORCH: this system is too old/m);
  });

  it("reports every problem at once", async () => {
    const libtorch = writeTree(temporaryFolder(), libtorchFiles("2.6.0"));
    const report = await diagnose({ libtorch, root: writeTree(temporaryFolder(), { "package.json": "{}" }), env: {} });
    expect(report.problems.map(({ code }) => code)).toEqual(["ERR_ADDON_NOT_FOUND", "ERR_LIBTORCH_VERSION"]);
    expect(describeDiagnosis(report)).toContain("npx ip2p build");
  });
});

describe("the cores that a container allows", () => {
  const limits = (proc: string, files: Record<string, string>) => {
    const folder = writeTree(temporaryFolder(), {
      "proc/self/cgroup": proc,
      ...Object.fromEntries(Object.entries(files).map(([path, text]) => [`cgroup/${path}`, text])),
    });
    return readLimits(join(folder, "proc"), join(folder, "cgroup"));
  };

  it("are the lowest limit of cgroup 2", () => {
    expect(limits("0::/\n", { "cpu.max": "max 100000\n", "memory.max": "max\n" })).toEqual({
      cores: null,
      memory: null,
    });
    expect(limits("0::/\n", { "cpu.max": "150000 100000\n", "memory.max": "1000\n" })).toEqual({
      cores: 1.5,
      memory: 1000,
    });
    const nested = {
      "a/cpu.max": "400000 100000\n",
      "a/b/cpu.max": "max 100000\n",
      "a/memory.max": "5\n",
      "a/b/memory.max": "7\n",
    };
    expect(limits("0::/a/b\n", nested)).toEqual({ cores: 4, memory: 5 });
  });

  it("are those of cgroup 1", () => {
    const files = {
      "cpu/x/cpu.cfs_quota_us": "250000\n",
      "cpu/x/cpu.cfs_period_us": "100000\n",
      "cpu/cpu.cfs_quota_us": "-1\n",
      "cpu/cpu.cfs_period_us": "100000\n",
      "memory/memory.limit_in_bytes": "9223372036854771712\n",
    };
    expect(limits("4:cpu,cpuacct:/x\n3:memory:/\n", files)).toEqual({ cores: 2.5, memory: null });
  });

  it("leave memory: what is free, without copies of files, in the tightest group", () => {
    const MB = 2 ** 20;
    const left = (cgroup: string, files: Record<string, string>) => {
      const folder = writeTree(temporaryFolder(), {
        "proc/self/cgroup": cgroup,
        "proc/meminfo": "MemTotal:  900000 kB\nMemAvailable:  819200 kB\nSwapFree:  102400 kB\n",
        ...Object.fromEntries(Object.entries(files).map(([path, text]) => [`cgroup/${path}`, text])),
      });
      return availableMemory(join(folder, "proc"), join(folder, "cgroup")) / MB;
    };
    expect(left("0::/\n", {})).toBe(900);
    const group = {
      "a/memory.max": `${600 * MB}\n`,
      "a/memory.current": `${500 * MB}\n`,
      "a/memory.swap.max": "0\n",
      "a/memory.stat": `anon 1\ninactive_file ${30 * MB}\nactive_file ${20 * MB}\n`,
    };
    expect(left("0::/a/b\n", group)).toBe(150);
    expect(left("0::/a/b\n", { ...group, "a/memory.swap.max": "max\n" })).toBe(250);
    expect(left("0::/a\n", { ...group, "a/memory.max": "max\n" })).toBe(900);
    const version1 = {
      "memory/x/memory.limit_in_bytes": `${400 * MB}\n`,
      "memory/x/memory.usage_in_bytes": `${390 * MB}\n`,
      "memory/x/memory.stat": `inactive_file 1\ntotal_inactive_file ${5 * MB}\n`,
    };
    expect(left("3:memory:/x\n", version1)).toBe(115);
    expect(availableMemory("/nowhere", "/nowhere")).toBe(Number.POSITIVE_INFINITY);
  });

  it("are unlimited without cgroups", () => {
    expect(readLimits("/nowhere", "/nowhere")).toEqual({ cores: null, memory: null });
    expect(usableCores()).toBeGreaterThanOrEqual(1);
  });
});

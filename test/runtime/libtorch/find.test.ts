import { chmodSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ResolveOptions, resolveLibtorch } from "../../../lib/runtime/libtorch/find.js";
import { placeOf } from "../../../lib/runtime/libtorch/layout.js";
import { assertSupportedPlatform, cacheFolder, isEnabled, platformAbi } from "../../../lib/runtime/platform.js";
import { assertVersion, isSupportedVersion, sameMinor } from "../../../lib/runtime/version.js";
import { libtorchFiles, temporaryFolder, writeTree } from "./fixtures.js";

function failureOf(work: () => unknown): { code: string; message: string } {
  try {
    work();
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error("it did not fail");
}

const fake = (version?: string, options?: { cuda?: boolean }) =>
  writeTree(temporaryFolder(), libtorchFiles(version, options));

function cacheWith(...entries: string[]): Record<string, string> {
  const cache = temporaryFolder();
  for (const entry of entries) {
    const version = entry.replace(/-.*/, "");
    writeTree(join(cache, "libtorch", entry, "torch"), libtorchFiles(version, { cuda: entry.endsWith("cuda") }));
  }
  return { INSTRUCT_PIX2PIX_CACHE: cache };
}

describe("the resolution order", () => {
  it("is option, LIBTORCH, LIBTORCH_USE_PYTORCH, cache", () => {
    const [option, variable, python] = [fake(), fake(), temporaryFolder()];
    writeTree(join(python, "torch"), libtorchFiles());
    writeTree(python, { "bin/python3": `#!/bin/sh\necho ${join(python, "torch")}\n` });
    chmodSync(join(python, "bin/python3"), 0o755);
    const cache = cacheWith("2.13.0-cpu");
    const env = { ...cache, LIBTORCH_USE_PYTORCH: "1", LIBTORCH: variable, VIRTUAL_ENV: python };
    const found = (options: ResolveOptions) => {
      const { root, source } = resolveLibtorch(options);
      return [source, root];
    };
    expect(found({ libtorch: option, env })).toEqual(["option", option]);
    expect(found({ env })).toEqual(["LIBTORCH", variable]);
    expect(found({ env: { ...env, LIBTORCH: "" } })).toEqual(["LIBTORCH_USE_PYTORCH", join(python, "torch")]);
    const root = join(cache.INSTRUCT_PIX2PIX_CACHE as string, "libtorch", "2.13.0-cpu", "torch");
    expect(found({ env: { ...env, LIBTORCH: undefined, LIBTORCH_USE_PYTORCH: "0" } })).toEqual(["cache", root]);
  });

  it("does not skip a rule whose libtorch does not exist", () => {
    const env = { ...cacheWith("2.13.0-cpu"), LIBTORCH: "/nowhere" };
    const absent = failureOf(() => resolveLibtorch({ env }));
    expect(absent.code).toBe("ERR_LIBTORCH_NOT_FOUND");
    expect(absent.message).toMatch(/^LIBTORCH is set to \/nowhere, which does not exist; .*ip2p install/);
    expect(absent.message).not.toContain("\n");

    const empty = temporaryFolder();
    const option = failureOf(() => resolveLibtorch({ env, libtorch: empty }));
    expect(option.message).toContain(`the libtorch option is set to ${empty}, which has no lib/libtorch_cpu.so`);

    const python = failureOf(() =>
      resolveLibtorch({ env: { ...env, LIBTORCH: "", LIBTORCH_USE_PYTORCH: "1", VIRTUAL_ENV: "/nowhere" } }),
    );
    expect(python.code).toBe("ERR_LIBTORCH_NOT_FOUND");
    expect(python.message).toContain("/nowhere/bin/python3");
  });

  it("ends with an error that lists what was tried and the command that fixes it", () => {
    const cache = join(temporaryFolder(), "cache");
    const { code, message } = failureOf(() => resolveLibtorch({ env: { INSTRUCT_PIX2PIX_CACHE: cache } }));
    expect(code).toBe("ERR_LIBTORCH_NOT_FOUND");
    const [first, ...tried] = message.split("\n");
    expect(first).toContain("npx ip2p install");
    for (const place of ["libtorch option", "LIBTORCH:", "LIBTORCH_USE_PYTORCH", join(cache, "libtorch")])
      expect(tried.join("\n")).toContain(place);
  });

  it("says that Python has no torch", () => {
    const python = temporaryFolder();
    writeTree(python, { "bin/python3": "#!/bin/sh\necho\n" });
    chmodSync(join(python, "bin/python3"), 0o755);
    const env = { ...cacheWith(), LIBTORCH_USE_PYTORCH: "1", VIRTUAL_ENV: python };
    expect(failureOf(() => resolveLibtorch({ env })).message).toMatch(
      /python3 did not name its torch: it has no torch$/,
    );
  });
});

describe("the cache", () => {
  it.each([
    [["2.12.1-cpu", "2.13.0-cpu", "2.15.0-cpu"], undefined, "2.13.0-cpu"],
    [["2.12.1-cpu", "2.13.0-cpu", "2.14.0-cpu"], "2.12.0", "2.12.1-cpu"],
    [["2.13.0-cpu", "2.13.0-cuda"], undefined, "2.13.0-cuda"],
    [["2.13.0-cpu", "2.13.1-cuda"], undefined, "2.13.0-cpu"],
    [["2.11.0-cpu", "2.12.1-cpu"], undefined, "2.12.1-cpu"],
    [["2.10.0-cpu", "2.11.0-cpu", "2.99.0-cuda"], undefined, "2.11.0-cpu"],
  ])("%j with %s wanted gives %s", (entries, preferredVersion, expected) => {
    expect(resolveLibtorch({ env: cacheWith(...entries), preferredVersion }).root).toContain(join(expected, "torch"));
  });

  it("skips partly deleted entries and other names", () => {
    const env = cacheWith("2.11.0-cpu", ".staging-2.13.0-cpu", "2.13.0-rocm");
    writeTree(env.INSTRUCT_PIX2PIX_CACHE as string, { "libtorch/2.13.0-cuda/manifest.json": "{}" });
    expect(resolveLibtorch({ env }).version).toBe("2.11.0");
  });

  it("is where the environment variables say", () => {
    expect(cacheFolder({})).toBe(join(homedir(), ".cache", "instruct-pix2pix"));
    expect(cacheFolder({ XDG_CACHE_HOME: "/x" })).toBe("/x/instruct-pix2pix");
    expect(cacheFolder({ XDG_CACHE_HOME: "relative" })).toBe(join(homedir(), ".cache", "instruct-pix2pix"));
    expect(cacheFolder({ XDG_CACHE_HOME: "/x", INSTRUCT_PIX2PIX_CACHE: "/y" })).toBe("/y");
  });
});

describe("the version of a libtorch", () => {
  const header = (folder: string) => ({
    [`include/torch/${folder}/version.h`]:
      "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 12\n#define TORCH_VERSION_PATCH 1\n",
  });
  const library = { "lib/libtorch_cpu.so": "" };

  it.each([
    ["build-version", { "build-version": "2.13.0+cpu\n" }, "2.13.0+cpu"],
    ["version.py", { "version.py": "__version__ = '2.13.0a0+git1'\n" }, "2.13.0a0+git1"],
    ["the header", header("headeronly"), "2.12.1"],
    ["the header of older versions", header("csrc/api/include/torch"), "2.12.1"],
  ])("is read from %s", (_, files, version) => {
    const root = writeTree(temporaryFolder(), { ...library, ...files } as Record<string, string>);
    expect(resolveLibtorch({ libtorch: root }).version).toBe(version);
  });

  it("is never guessed", () => {
    const root = writeTree(temporaryFolder(), library);
    const { code, message } = failureOf(() => resolveLibtorch({ libtorch: root }));
    expect(code).toBe("ERR_LIBTORCH");
    expect(message).toContain(root);
  });

  it("and the variant are read from the files, not from the folder's name", () => {
    expect(resolveLibtorch({ libtorch: fake("2.13.0+cpu", { cuda: true }) }).variant).toBe("cuda");
    expect(resolveLibtorch({ libtorch: fake("2.13.0+cu130") }).variant).toBe("cpu");
  });

  it("is accepted from 2.11 to 2.15", () => {
    for (const version of ["2.11.0", "2.12.1+cpu", "2.13.0+cu130", "2.14.0a0+git", "2.15.0+cu132"])
      expect([version, isSupportedVersion(version)]).toEqual([version, true]);
    for (const version of ["2.10.9", "2.16.0", "1.13.1", "3.12.0", "2", "", "nonsense"])
      expect([version, isSupportedVersion(version)]).toEqual([version, false]);
  });

  it("must be of the minor version that the addon was built against", () => {
    expect(sameMinor("2.13.0", "2.13.4+cu130")).toBe(true);
    expect(sameMinor("2.1.0", "2.13.0")).toBe(false);
    expect(() => assertVersion({ version: "2.13.1+cpu", root: "/r" }, "2.13.0")).not.toThrow();
    const other = failureOf(() => assertVersion({ version: "2.12.0", root: "/r" }, "2.13.0"));
    expect(other.code).toBe("ERR_LIBTORCH_VERSION");
    for (const part of ["2.12.0", "2.13.0", "/r", "LIBTORCH_BYPASS_VERSION_CHECK=1", "ip2p build"])
      expect(other.message).toContain(part);
    const old = failureOf(() => assertVersion({ version: "2.6.0", root: "/r" }));
    expect(old.code).toBe("ERR_LIBTORCH_VERSION");
    expect(old.message).toMatch(/2\.6\.0.*2\.11 to 2\.15.*2\.13\.0/);
  });
});

describe("the platform", () => {
  it("is named like the prebuilt packages", () => {
    if (process.platform === "linux") expect(platformAbi()).toMatch(/^linux-(x64|arm64)-(gnu|musl)$/);
  });

  it.runIf(process.platform === "linux")("musl and an old glibc are refused in one line", () => {
    const musl = failureOf(() => assertSupportedPlatform({ family: "musl", version: "1.2.5" }));
    expect(musl.code).toBe("ERR_LIBTORCH");
    expect(musl.message).toMatch(/^this Linux uses the musl C library.*glibc.*$/);
    const old = failureOf(() => assertSupportedPlatform({ family: "glibc", version: "2.9" }));
    expect(old.code).toBe("ERR_LIBTORCH");
    expect(old.message).toMatch(
      /^this system is too old: its C library is glibc 2\.9, and libtorch needs 2\.28 or newer.*$/,
    );
    for (const version of ["2.28", "2.36", "3.0", null])
      expect(() => assertSupportedPlatform({ family: "glibc", version })).not.toThrow();
  });

  it("environment switches are on unless set to off", () => {
    expect(["1", "true", "YES", "on", "x"].every(isEnabled)).toBe(true);
    expect([undefined, "", "0", "false", "No", "off"].some(isEnabled)).toBe(false);
  });
});

describe("a place in the cache", () => {
  const place = (path: string) => placeOf(path, { cpuHalfOnly: true });

  it("is given to the CPU libraries and to licences", () => {
    for (const path of ["nvidia/cu13/lib/libcudart.so.13", "nvidia/x/bin/cupti64.dll", "nvidia/lib/cudart.cupti.so"])
      expect(place(path)).toBe(path);
    for (const path of ["nvidia/lib/cudart.txt", "nvidia/lib/x.so.cudart", "nvidia/lib/a/cudart.so", "nvidia/x.so"])
      expect(place(path)).toBeUndefined();
    expect(place("torch-2.dist-info/licenses/a/License.txt")).toBe("licenses/torch-2/a/License.txt");
    expect(place("torch-2.dist-info/METADATA")).toBe("licenses/torch-2/METADATA");
    for (const path of ["torch-2.dist-info/a/METADATA", "torch-2.dist-info/notice/x", ".dist-info/NOTICE", "x/NOTICE"])
      expect(place(path)).toBeUndefined();
  });

  it("is determined in linear time", () => {
    // Work that grows with the square of a name's length would take hours.
    for (const part of ["cudart", "cudart.so/", "/lib/cudart", "LICENSE", "LICENSE/", ".dist-info", "licenses/"])
      for (const start of ["nvidia/lib/", "x.dist-info/", ""])
        expect(place(`${start}${part.repeat(1e5)}/`), part).toBeUndefined();
  });
});

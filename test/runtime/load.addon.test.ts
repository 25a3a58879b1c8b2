import { execFile, execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { findAddon, localBuildFolder, platformPackage } from "../../lib/runtime/addon.js";
import { resolveLibtorch } from "../../lib/runtime/libtorch/find.js";
import { type LoadedAddon, type LoadOptions, loadAddon } from "../../lib/runtime/load.js";
import { packageRoot, platformAbi, sharedLibraryName } from "../../lib/runtime/platform.js";
import { probeAddon } from "../../lib/runtime/probe.js";
import { libtorchFiles, temporaryFolder, writeTree } from "./libtorch/fixtures.js";

const compiled = (path: string) => JSON.stringify(new URL(`../../dist/${path}`, import.meta.url).href);

/** Runs a module in a separate Node.js process and returns its JSON output. */
async function inProcess<T>(program: string, env: Record<string, string> = {}): Promise<T> {
  const args = ["--input-type=module", "-e", program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
  return JSON.parse(stdout) as T;
}

/** An installed copy of the package whose addon needs no libtorch: the preload module stands in for it. */
function installedPackage({ libtorch = "2.13.0" as string | null, prebuilt = false } = {}): string {
  const root = temporaryFolder();
  const { preload } = findAddon();
  const infix = prebuilt ? `.${platformAbi()}` : "";
  const folder = prebuilt ? join(root, "node_modules", platformPackage()) : join(root, "build", "Release");
  mkdirSync(folder, { recursive: true });
  writeTree(root, { "package.json": "{}" });
  writeTree(folder, { "package.json": "{}" });
  copyFileSync(preload, join(folder, `ip2p${infix}.node`));
  copyFileSync(preload, join(folder, `ip2p_preload${infix}.node`));
  if (libtorch) writeFileSync(join(folder, "build.json"), JSON.stringify({ libtorch, variant: "cpu", commit: null }));
  return root;
}

function failureOf(options: LoadOptions): { code: string; message: string } {
  try {
    loadAddon(options);
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error("it loaded");
}

const nothing = () => ({ INSTRUCT_PIX2PIX_CACHE: join(temporaryFolder(), "cache") });

describe("the first missing part", () => {
  it("is libtorch, even if other parts are missing too", () => {
    expect(failureOf({ env: nothing(), root: temporaryFolder() })).toMatchObject({
      code: "ERR_LIBTORCH_NOT_FOUND",
      message: expect.stringContaining("npx ip2p install"),
    });
  });

  it("is the addon: an installed package names each path tried and each remedy", () => {
    const root = writeTree(temporaryFolder(), { "package.json": "{}" });
    const libtorch = writeTree(temporaryFolder(), libtorchFiles());
    const { code, message } = failureOf({ libtorch, root });
    expect(code).toBe("ERR_ADDON_NOT_FOUND");
    const parts = [
      "npx ip2p build",
      join(root, "build/Release/ip2p.node"),
      `${platformPackage()}: is not installed`,
      "--omit=optional",
      "lockfile",
      "supportedArchitectures",
    ];
    for (const part of parts) expect(message).toContain(part);
    expect(message).not.toContain("asar");
    const packed = writeTree(join(temporaryFolder(), "app.asar", "node_modules", "p"), { "package.json": "{}" });
    expect(failureOf({ libtorch, root: packed }).message).toContain("asarUnpack");
  });

  it("is the addon: in a clone one command fixes it", () => {
    const root = writeTree(temporaryFolder(), { "package.json": "{}", "scripts/setup.mjs": "" });
    const libtorch = writeTree(temporaryFolder(), libtorchFiles());
    const [first] = failureOf({ libtorch, root }).message.split("\n");
    expect(first).toBe("the native addon has not been built; run `npm run setup`");
  });

  it("is the right version of libtorch: both versions are named", () => {
    const libtorch = writeTree(temporaryFolder(), libtorchFiles("2.12.1+cpu"));
    const root = installedPackage();
    const { code, message } = failureOf({ libtorch, root, env: {} });
    expect(code).toBe("ERR_LIBTORCH_VERSION");
    expect(message).toMatch(/built against libtorch 2\.13\.0, but libtorch 2\.12\.1\+cpu was found at /);
    // Past the check it fails for what these files are: no libraries.
    const env = { LIBTORCH_BYPASS_VERSION_CHECK: "1" };
    expect(failureOf({ libtorch, root, env }).code).toBe("ERR_LIBTORCH");
  });

  it("is a libtorch that loads: the dynamic linker's error is shown", () => {
    const libtorch = writeTree(temporaryFolder(), libtorchFiles());
    const { code, message } = failureOf({ libtorch, root: installedPackage(), env: {} });
    expect(code).toBe("ERR_LIBTORCH");
    expect(message).toMatch(/libtorch 2\.13\.0 at .* cannot be loaded: .*libc10\.so: file too short/);
    expect(message).not.toContain("\n");
  });
});

describe("the addon", () => {
  it("of a build in the package's own folder is preferred to the platform package", () => {
    expect(findAddon(installedPackage())).toMatchObject({ origin: "build", build: { libtorch: "2.13.0" } });
    const root = installedPackage({ prebuilt: true });
    expect(findAddon(root)).toMatchObject({ origin: "package", build: { libtorch: "2.13.0" } });
    expect(findAddon(root).addon).toBe(join(root, "node_modules", platformPackage(), `ip2p.${platformAbi()}.node`));
    expect(findAddon(installedPackage({ libtorch: null })).build).toBeUndefined();
  });

  it("of a platform package of another version is not loaded, and the versions are named", () => {
    const root = installedPackage({ prebuilt: true });
    const folder = join(root, "node_modules", platformPackage());
    const versions = (own: string, platform: string, build: string) => {
      writeTree(root, { "package.json": JSON.stringify({ version: own }) });
      writeTree(folder, {
        "package.json": JSON.stringify({ version: platform }),
        "build.json": JSON.stringify({ libtorch: "2.13.0", variant: "cpu", commit: null, version: build }),
      });
    };
    versions("1.2.3", "1.2.3", "1.2.3");
    expect(findAddon(root).build).toMatchObject({ version: "1.2.3" });
    for (const [platform, build] of [
      ["1.2.2", "1.2.2"],
      ["1.2.3", "1.2.2"],
    ] as const) {
      versions("1.2.3", platform, build);
      expect(() => findAddon(root)).toThrow(
        expect.objectContaining({
          code: "ERR_ADDON_NOT_FOUND",
          message: expect.stringContaining(`${folder}: is version 1.2.2, but instruct-pix2pix is 1.2.3`),
        }),
      );
    }
  });
});

/** Tiny libraries with the names and the dependencies of libtorch's. */
describe.runIf(process.platform === "linux")("a CUDA libtorch", () => {
  let libtorch: string;
  let driver: string;
  let broken: string;

  beforeAll(() => {
    const folder = execFileSync("mktemp", ["-d"], { encoding: "utf8" }).trim();
    writeTree(folder, { "f.c": "int f;\n" });
    const library = (path: string, ...more: string[]) => {
      mkdirSync(join(folder, path, ".."), { recursive: true });
      execFileSync("c++", [
        "-shared",
        "-fPIC",
        "-x",
        "c",
        join(folder, "f.c"),
        "-x",
        "none",
        "-o",
        join(folder, path),
        ...more,
      ]);
    };
    library("driver/libcuda.so.1", "-Wl,-soname,libcuda.so.1");
    library("gone/libcublas.so.13", "-Wl,-soname,libcublas.so.13");
    for (const tree of ["whole", "broken"]) {
      for (const stem of ["c10", "torch_cpu", "c10_cuda"]) library(`${tree}/lib/lib${stem}.so`);
      const dependency = tree === "broken" ? ["-Wl,--no-as-needed", join(folder, "gone/libcublas.so.13")] : [];
      library(`${tree}/lib/libtorch_cuda.so`, ...dependency);
      writeTree(join(folder, tree), { "version.py": "__version__ = '2.13.0+cu130'\n" });
    }
    [libtorch, driver, broken] = [join(folder, "whole"), join(folder, "driver"), join(folder, "broken")];
    return () => execFileSync("rm", ["-rf", folder]);
  });

  const load = (tree: string, env: Record<string, string> = {}, root = installedPackage()) =>
    inProcess<LoadedAddon<unknown>["cuda"] & { opened: string[] }>(
      `import { readFileSync } from "node:fs";
       import { loadAddon } from ${compiled("runtime/load.js")};
       const { cuda } = loadAddon(${JSON.stringify({ libtorch: tree, root })});
       const maps = readFileSync("/proc/self/maps", "utf8");
       const opened = ["c10", "torch_cpu", "c10_cuda", "torch_cuda"].filter((stem) => maps.includes("/lib" + stem + ".so"));
       console.log(JSON.stringify({ ...cuda, opened }));`,
      env,
    );

  it("on a machine without a driver loads only libtorch's CPU libraries", async () => {
    const cuda = await load(libtorch);
    expect(cuda).toMatchObject({ state: "no-driver", reason: expect.stringContaining("libcuda.so.1") });
    expect(cuda.opened).toEqual(["c10", "torch_cpu"]);
  });

  it("loads all of libtorch if there is a driver", async () => {
    const cuda = await load(libtorch, { LD_LIBRARY_PATH: driver });
    const opened = ["c10", "torch_cpu", "c10_cuda", "torch_cuda"];
    expect(cuda).toEqual({ state: "loaded", library: { state: "absent" }, opened });
  });

  it("loads the package's CUDA library next, and computes without it if that fails", async () => {
    const root = installedPackage();
    const path = join(localBuildFolder(root), sharedLibraryName("ip2p_cuda"));
    copyFileSync(join(libtorch, "lib/libc10_cuda.so"), path);
    expect(findAddon(root).cuda).toBe(path);
    const env = { LD_LIBRARY_PATH: driver };
    expect(await load(libtorch, env, root)).toMatchObject({ state: "loaded", library: { state: "loaded" } });
    writeFileSync(path, "no library");
    expect(await load(libtorch, env, root)).toMatchObject({
      state: "loaded",
      library: { state: "failed", reason: expect.stringContaining("ip2p_cuda") },
    });
  });

  it("whose CUDA libraries are incomplete still computes on the CPU, and names the missing one", async () => {
    const cuda = await load(broken, { LD_LIBRARY_PATH: driver });
    expect(cuda).toMatchObject({ state: "failed", reason: expect.stringContaining("libcublas.so.13") });
  });
});

describe("loading", () => {
  it("does not happen when the module is imported", async () => {
    const opened = await inProcess<boolean>(
      `import { readFileSync } from "node:fs";
       import ${compiled("runtime/load.js")};
       console.log(readFileSync("/proc/self/maps", "utf8").includes("libtorch"));`,
    );
    expect(opened).toBe(false);
  });

  it("happens once per environment; a process never loads a second libtorch", () => {
    const first = loadAddon<{ libtorchVersion: string }>();
    expect(first.exports.libtorchVersion).toMatch(/^2\.1[1-4]\.\d/);
    expect(loadAddon()).toBe(first);
    expect(loadAddon({ libtorch: first.libtorch.root })).toBe(first);
    const libtorch = writeTree(temporaryFolder(), libtorchFiles());
    expect(failureOf({ libtorch })).toMatchObject({
      code: "ERR_LIBTORCH",
      message: expect.stringContaining(`already loaded from ${first.libtorch.root}`),
    });
  });

  it("works in worker threads, together and one after the other", async () => {
    const versions = await inProcess<string[]>(
      `import { Worker } from "node:worker_threads";
       import { loadAddon } from ${compiled("runtime/load.js")};
       const code = 'import { parentPort } from "node:worker_threads"; import { loadAddon } from ${compiled("runtime/load.js")}; parentPort.postMessage(loadAddon().exports.libtorchVersion)';
       const work = () => new Promise((resolve, reject) => {
         let answer;
         new Worker(code, { eval: true }).on("message", (m) => { answer = m; }).on("error", reject).on("exit", () => resolve(answer));
       });
       const versions = await Promise.all([work(), work()]);
       versions.push(loadAddon().exports.libtorchVersion, await work(), await work());
       console.log(JSON.stringify(versions));`,
    );
    expect(versions).toHaveLength(5);
    expect(new Set(versions)).toEqual(new Set([loadAddon<{ libtorchVersion: string }>().exports.libtorchVersion]));
  });

  it("can be tested in another process first", async () => {
    const files = findAddon();
    expect(files.addon).toBe(join(localBuildFolder(packageRoot), "ip2p.node"));
    const works = await probeAddon(files, resolveLibtorch());
    expect(works).toMatchObject({
      ok: true,
      system: { libtorch: expect.any(String), defaultThreads: expect.any(Number) },
    });
    const libtorch = resolveLibtorch({ libtorch: writeTree(temporaryFolder(), libtorchFiles()) });
    expect(await probeAddon(files, libtorch)).toMatchObject({
      ok: false,
      reason: expect.stringContaining("libc10.so"),
    });
  });
});

import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type BuildOptions, buildAddon } from "../../lib/runtime/build.js";
import { findBuildTools } from "../../lib/runtime/build-tools.js";
import { packageRoot } from "../../lib/runtime/platform.js";
import { libtorchFiles, temporaryFolder, writeTree } from "./libtorch/fixtures.js";

/** A package whose native half compiles in a moment. */
function smallPackage(source = "int f(void) { return 0; }\n"): BuildOptions & { root: string } {
  const root = writeTree(temporaryFolder(), {
    "package.json": "{}",
    "CMakeLists.txt": `cmake_minimum_required(VERSION 3.18)
project(small C)
if(NOT EXISTS "\${IP2P_LIBTORCH}/include/ATen/ATen.h")
  message(FATAL_ERROR "no libtorch")
endif()
foreach(name ip2p ip2p_preload)
  add_library(\${name} MODULE native/small.c)
  set_target_properties(\${name} PROPERTIES PREFIX "" SUFFIX ".node" LIBRARY_OUTPUT_DIRECTORY "\${CMAKE_BINARY_DIR}/Release")
endforeach()
`,
    "native/small.c": source,
  });
  return { root, libtorch: writeTree(temporaryFolder(), libtorchFiles("2.13.0+cu130")), tool: "cmake" };
}

describe("building the addon", () => {
  it("happens once, and again after a source or libtorch's minor version changes", async () => {
    const options = smallPackage();
    const built = async (more: BuildOptions = {}) => (await buildAddon({ ...options, ...more })).built;
    const first = await buildAddon(options);
    expect(first.built).toBe(true);
    expect(first.files).toMatchObject({
      addon: join(options.root, "build/Release/ip2p.node"),
      origin: "build",
      build: { libtorch: "2.13.0", variant: "cpu", commit: null },
    });
    expect(await built()).toBe(false);
    // Within a minor version the addon runs with any libtorch.
    expect(await built({ libtorch: writeTree(temporaryFolder(), libtorchFiles("2.13.1+cpu")) })).toBe(false);
    // The CUDA library is made once there is a libtorch to make it with, and what was built so serves the CPU as well.
    const cuda = writeTree(temporaryFolder(), libtorchFiles("2.13.0+cu130", { cuda: true }));
    expect(await built({ libtorch: cuda })).toBe(true);
    expect(await built({ libtorch: cuda })).toBe(false);
    expect(await built()).toBe(false);
    expect(await built({ libtorch: writeTree(temporaryFolder(), libtorchFiles("2.12.0")) })).toBe(true);
    expect(await built()).toBe(true);
    writeFileSync(join(options.root, "native/small.c"), "int f(void) { return 1; }\n");
    expect(await built()).toBe(true);
    expect(await built({ clean: true })).toBe(true);
    rmSync(join(options.root, "build/Release/ip2p_preload.node"));
    expect(await built()).toBe(true);
    expect(await built()).toBe(false);
  });

  it("that fails names the first error and the log, and is tried again", async () => {
    const options = smallPackage("int f(void) { return nonsense; }\n");
    const failed = buildAddon(options);
    const log = join(options.root, "build/build.log");
    await expect(failed).rejects.toMatchObject({ code: "ERR_BUILD_TOOLS" });
    await expect(failed).rejects.toThrow(
      /^building the addon failed: .*native\/small\.c:1:\d+: error: .*nonsense.*; the log is /,
    );
    expect(readFileSync(log, "utf8")).toContain("nonsense");
    expect(existsSync(join(options.root, "build/Release/build.json"))).toBe(false);
    writeFileSync(join(options.root, "native/small.c"), "int f(void) { return 0; }\n");
    expect((await buildAddon(options)).built).toBe(true);
  });

  it("works in a build folder copied from elsewhere", async () => {
    const options = smallPackage();
    writeTree(options.root, {
      "build/CMakeCache.txt": "CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere\nCMAKE_GENERATOR:INTERNAL=Unix Makefiles\n",
    });
    expect((await buildAddon(options)).built).toBe(true);
  });

  it("is done once by two processes at the same time", async () => {
    const options = smallPackage();
    const both = await Promise.all([buildAddon(options), buildAddon(options)]);
    expect(both.map(({ built }) => built).sort()).toEqual([false, true]);
  });

  it("can be aborted", async () => {
    const abort = new AbortController();
    const run = buildAddon({
      ...smallPackage(),
      signal: abort.signal,
      onBegin: () => setTimeout(() => abort.abort(), 5),
    });
    await expect(run).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("needs a libtorch, of a version that the sources compile against", async () => {
    const options = smallPackage();
    await expect(buildAddon({ ...options, libtorch: "/nowhere" })).rejects.toMatchObject({
      code: "ERR_LIBTORCH_NOT_FOUND",
    });
    const libtorch = writeTree(temporaryFolder(), libtorchFiles("2.6.0"));
    await expect(buildAddon({ ...options, libtorch })).rejects.toMatchObject({ code: "ERR_LIBTORCH_VERSION" });
    await expect(buildAddon({ ...options, parallel: 0 })).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  });

  it("by cmake-js reports that cmake-js is needed; otherwise CMake is used directly", async () => {
    const options = smallPackage();
    await expect(buildAddon({ ...options, tool: "cmake-js" })).rejects.toMatchObject({
      code: "ERR_BUILD_TOOLS",
      message: expect.stringContaining("npm install cmake-js"),
    });
    expect((await buildAddon({ ...options, tool: "auto" })).built).toBe(true);
  });
});

describe("the tools for building", () => {
  const programs = (scripts: Record<string, string>) => {
    const folder = writeTree(temporaryFolder(), scripts);
    for (const name of Object.keys(scripts)) chmodSync(join(folder, name), 0o755);
    return { PATH: folder };
  };
  const yes = "#!/bin/sh\nexit 0\n";
  const cmake = (version: string) => `#!/bin/sh\necho "cmake version ${version}"\n`;

  it("are all named when missing, with how to install them", () => {
    expect(() => findBuildTools({ PATH: "/nowhere" })).toThrow(
      expect.objectContaining({
        code: "ERR_BUILD_TOOLS",
        message: expect.stringMatching(
          /missing: CMake, Ninja or Make, a C\+\+20 compiler; run `apt-get install.*pip install cmake ninja/,
        ),
      }),
    );
    expect(() => findBuildTools(programs({ cmake: cmake("3.10.2"), ninja: yes, "c++": yes }))).toThrow(
      /missing: CMake 3\.18 or newer \(this one is 3\.10\);/,
    );
    expect(() =>
      findBuildTools({ ...programs({ cmake: cmake("3.25.1"), make: yes, "c++": yes }), CXX: "/no/g++" }),
    ).toThrow(/missing: a C\+\+20 compiler \(CXX is \/no\/g\+\+\)/);
  });

  it("are found by running them", () => {
    const env = programs({ cmake: cmake("4.1.0-rc2"), make: yes, "c++": "#!/bin/sh\nexit 1\n", "clang++": yes });
    expect(findBuildTools(env)).toEqual({ cmake: "4.1.0-rc2", generator: "Unix Makefiles", compiler: "clang++" });
    expect(
      findBuildTools({ ...programs({ cmake: cmake("3.25.1"), ninja: yes, make: yes, "c++": yes }) }).generator,
    ).toBe("Ninja");
  });

  it("are installed on this machine", () => {
    expect(findBuildTools().compiler).toBeDefined();
    expect(existsSync(join(packageRoot, "CMakeLists.txt"))).toBe(true);
  });
});

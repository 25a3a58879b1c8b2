import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findAddon } from "../../lib/runtime/addon.js";
import { resolveLibtorch } from "../../lib/runtime/libtorch/find.js";
import { sharedLibraryName } from "../../lib/runtime/platform.js";
import { probeAddon } from "../../lib/runtime/probe.js";
import { runChild } from "./child.js";

const files = findAddon();
const libtorch = resolveLibtorch();

// An addon built with a CPU libtorch has no CUDA library.
describe.runIf(libtorch.variant === "cuda" && files.cuda)("the CUDA library", () => {
  const libraries = ["c10", "torch_cpu", "c10_cuda", "torch_cuda"].map((stem) =>
    join(libtorch.root, "lib", sharedLibraryName(stem)),
  );

  test("loads with a CUDA libtorch; without a driver its calls report that, and the CPU computes", async () => {
    const { status, stdout, stderr } = await runChild("cuda-library.mjs", [
      files.addon,
      files.preload,
      ...libraries,
      files.cuda!,
    ]);
    expect(status, stderr).toBe(0);
    const { outcomes, computed, system, versions } = JSON.parse(stdout);
    expect(system.cudaLibrary).toBe(true);
    expect(computed).toEqual([expect.closeTo(2.9959, 3), expect.closeTo(-7.9997, 3)]);
    if (system.cudaDevices > 0) {
      expect(versions.driver).toBeGreaterThanOrEqual(versions.runtime);
      // Only what lies on the CPU cannot be replayed.
      expect(Object.values(outcomes).filter((outcome) => outcome !== "works")).toHaveLength(1);
    } else
      for (const [name, outcome] of Object.entries(outcomes)) expect(outcome, name).toMatch(/^ERR_CUDA_UNAVAILABLE /);
  });

  test("is tested by the doctor also on a machine without a driver", async () => {
    expect(await probeAddon(files, libtorch)).toMatchObject({ ok: true, cuda: { library: { state: "loaded" } } });
  });
});

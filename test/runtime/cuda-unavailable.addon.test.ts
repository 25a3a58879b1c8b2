import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { resolveLibtorch } from "../../lib/runtime/libtorch/find.js";
import { sharedLibraryName } from "../../lib/runtime/platform.js";
import { runChild } from "./child.js";

interface Outcome {
  auto: string;
  warnings: string[];
  refusals: Record<string, string>;
}

/** Which devices a libtorch offers, in a separate process. */
async function devicesWith(libtorch: string): Promise<Outcome> {
  const { status, stdout, stderr } = await runChild("devices.mjs", [], { env: { LIBTORCH: libtorch } });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

const { root } = resolveLibtorch();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-cuda-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A folder that looks like the libtorch in use, without or with a CUDA half (one that cannot be loaded). */
function libtorchLike(name: string, cuda: boolean): string {
  const copy = join(folder, name, "torch");
  mkdirSync(join(copy, "lib"), { recursive: true });
  const link = (...path: string[]) => symlinkSync(join(root, ...path), join(copy, ...path));
  for (const entry of readdirSync(root)) if (entry !== "lib") link(entry);
  for (const entry of readdirSync(join(root, "lib"))) if (!entry.includes("cuda")) link("lib", entry);
  // Libraries of wheels are looked for beside the folder.
  if (existsSync(join(root, "..", "nvidia"))) symlinkSync(join(root, "..", "nvidia"), join(folder, name, "nvidia"));
  if (cuda) writeFileSync(join(copy, "lib", sharedLibraryName("torch_cuda")), "");
  return copy;
}

test("with a CPU libtorch, auto is the CPU without a warning, and cuda is refused with that reason", async () => {
  const { auto, warnings, refusals } = await devicesWith(libtorchLike("cpu", false));
  expect({ auto, warnings }).toEqual({ auto: "cpu", warnings: [] });
  for (const [what, refusal] of Object.entries(refusals))
    expect(refusal, what).toMatch(/^ERR_CUDA_UNAVAILABLE device "cuda(:1)?" is not available: .*no CUDA support/);
});

test("with a CUDA libtorch that cannot use its CUDA half, auto warns once, and cuda is refused with the reason", async () => {
  const { auto, warnings, refusals } = await devicesWith(libtorchLike("cuda", true));
  expect(auto).toBe("cpu");
  // The second where the tests run on a machine with a driver.
  const reason = /no NVIDIA driver is installed \(.+\)|libtorch's CUDA libraries cannot be loaded \(.+\)/;
  expect(warnings).toEqual([expect.stringMatching(/^computing on the CPU: /)]);
  expect(warnings[0]).toMatch(reason);
  for (const what of ["resolveDevice", "fromPretrained"]) {
    expect(refusals[what]).toMatch(/^ERR_CUDA_UNAVAILABLE device "cuda(:1)?" is not available: /);
    expect(refusals[what]).toMatch(reason);
  }
  for (const refusal of Object.values(refusals)) expect(refusal).toMatch(/^ERR_CUDA_UNAVAILABLE /);
});

test("auto chooses a CUDA device only if a test process could compute on it", async () => {
  const { native } = await import("../../lib/runtime/native.js");
  const { resolveDevice } = await import("../../lib/core/device.js");
  const found = native().systemInfo();
  const warnings: string[] = [];
  const warned = vi.spyOn(process, "emitWarning").mockImplementation((warning) => void warnings.push(String(warning)));
  // What this process believes; the other one looks for itself.
  const believed = vi.spyOn(native(), "systemInfo").mockReturnValue({ ...found, cudaDevices: 1 });
  try {
    const auto = [resolveDevice("auto"), resolveDevice("auto")];
    expect(resolveDevice("cuda")).toBe("cuda:0");
    if (found.cudaDevices > 0) expect(auto).toEqual(["cuda:0", "cuda:0"]);
    else {
      expect(auto).toEqual(["cpu", "cpu"]);
      const reason = "the CUDA device cannot be used (another process finds no CUDA device)";
      expect(warnings).toEqual([`computing on the CPU: ${reason}`]);
    }
  } finally {
    believed.mockRestore();
    warned.mockRestore();
  }
});

test("an invalid device name is refused", async () => {
  const { resolveDevice } = await import("../../lib/core/device.js");
  for (const device of ["", "gpu", "cuda:", "cuda:x", "CPU", "mps", "cuda:-1", "cuda:1000", 5, null])
    expect(() => resolveDevice(device as string), String(device)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }),
    );
});

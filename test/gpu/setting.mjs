// Shared by the tests of this folder. They use the compiled package and what Node brings, and nothing else: they are
// meant for machines that nothing can be installed on.
import { appendFileSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { resolveDevice } from "../../dist/core/device.js";
import { native } from "../../dist/runtime/native.js";

export const addon = native();
export const system = addon.systemInfo();
/** The first CUDA device, or the CPU without one. */
export const device = resolveDevice("auto");
export const onCuda = device !== "cpu";
// With more threads, models as small as the recorded ones have them wait for each other.
if (!onCuda) await addon.setThreads(1);

export const MODELS = ["ip2p-tiny", "ip2p-linear-v"];

/**
 * Largest deviations from what diffusers computed on the CPU, relative to the largest number, of single modules and of
 * whole runs' images (absolute, in 0..1), and from what its script computed in training. A GPU adds up in another order; half precision has 8 or 11 bits.
 */
export const TOLERANCE = {
  float32: {
    modules: onCuda ? 5e-5 : 1e-5,
    pictures: onCuda ? 1e-3 : 1e-4,
    // Relative; the optimizer makes much of small differences where gradients are almost zero.
    training: onCuda ? { losses: 1e-3, weights: 2e-2 } : { losses: 1e-4, weights: 1e-3 },
  },
  bfloat16: { modules: 5e-2 },
  float16: { modules: 1e-2 },
};

export const fixture = (...parts) => fileURLToPath(new URL(["../fixtures", ...parts].join("/"), import.meta.url));
export const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

/** Adds a row to the table that is printed last. */
export function report(what, figure, limit = "") {
  const line = JSON.stringify({ what: `${device} ${what}`, figure, limit });
  if (process.env.IP2P_GPU_REPORT) appendFileSync(process.env.IP2P_GPU_REPORT, `${line}\n`);
}

/** Largest |actual − expected|, and the same relative to the largest |expected|; infinite where one is not a number. */
export async function deviation(actual, expected) {
  if (actual.shape.join() !== expected.shape.join())
    throw new Error(`shape [${actual.shape}] where [${expected.shape}] was expected`);
  const [a, b] = [await actual.toArray(), await expected.toArray()];
  let [absolute, scale] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(Number(a[i]) - Number(b[i]));
    absolute = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(absolute, difference);
    scale = Math.max(scale, Math.abs(Number(b[i])));
  }
  return { absolute, relative: absolute === 0 ? 0 : absolute / scale };
}

export const scientific = (number) => number.toExponential(1);

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { InstructPix2PixPipeline, Tensor } from "../../dist/index.js";
import { addon, device, fixture, report, system } from "./setting.mjs";

/** Seconds per denoising step: the median, the first one left out. */
async function secondsPerStep(pipe, image, steps) {
  const times = [];
  let last;
  await pipe.run({
    ...{ prompt: "make it a snowy day", image, seed: 0, numInferenceSteps: steps, outputType: "latent" },
    onStep: async ({ latents }) => {
      await latents.isFinite(); // waits for the device
      const now = performance.now();
      if (last !== undefined) times.push(now - last);
      last = now;
    },
  });
  times.sort((a, b) => a - b);
  return times[times.length >> 1] / 1000;
}

test("a step of the tiny model", async () => {
  const pipe = await InstructPix2PixPipeline.fromPretrained(fixture("ip2p-tiny", "model"), { device });
  const seconds = await secondsPerStep(pipe, fixture("ip2p-tiny", "image.png"), 10);
  report("tiny model, float32, ms per step", (seconds * 1000).toFixed(1));
  assert.ok(seconds > 0);
  pipe.dispose();
});

test("a step of a model of Stable Diffusion 1.5 size", { skip: !process.env.IP2P_GPU_FULL }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-gpu-"));
  try {
    const program = fileURLToPath(new URL("../../scripts/make-random-model.mjs", import.meta.url));
    const made = spawnSync(process.execPath, [program, folder, "--dtype", "float16"], { encoding: "utf8" });
    assert.equal(made.status, 0, made.stderr);
    if (device === "cpu") await addon.setThreads(system.defaultThreads);
    for (const dtype of ["float32", "bfloat16", "float16"]) {
      // Slow beyond measure there: no CPU kernels.
      if (device === "cpu" && dtype === "float16") continue;
      const begun = performance.now();
      const pipe = await InstructPix2PixPipeline.fromPretrained(folder, { device, dtype });
      report(`full size, ${dtype}, s to load`, ((performance.now() - begun) / 1000).toFixed(1));
      for (const edge of device === "cpu" ? [256] : [256, 512]) {
        const image = await Tensor.rand([1, 3, edge, edge]);
        const seconds = await secondsPerStep(pipe, image, device === "cpu" ? 3 : 20);
        report(`full size, ${dtype}, ${edge}×${edge}, ms per step`, (seconds * 1000).toFixed(1));
        image.dispose();
      }
      pipe.dispose();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

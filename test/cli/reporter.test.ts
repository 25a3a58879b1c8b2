import { PassThrough } from "node:stream";
import { describe, expect, it, vi } from "vitest";
import { StepClock } from "../../lib/cli/pictures/clock.js";
import { createReporter, type PictureReporter, type PictureSummary } from "../../lib/cli/pictures/reporter.js";
import { rateText, secondsText } from "../../lib/cli/pictures/text.js";
import type { StepRecord } from "../../lib/training/events.js";
import { trackedValues } from "../../lib/training/trackers.js";

const summary: PictureSummary = {
  outputs: ["a.png"],
  refiner: undefined,
  pipeline: "StableDiffusionPipeline",
  ...{ width: 64, height: 32, seed: 7n, scheduler: "DDIMScheduler", device: "cpu", dtype: "float32" },
  ...{
    steps: 40,
    stepsPerSecond: 2,
    seconds: { load: 1, run: 20, total: 22 },
    peakMemory: 5e8,
    peakDeviceMemory: undefined,
  },
};

const record: StepRecord = {
  ...{ step: 1, trainLoss: 0.1, lr: 1e-4, gradNorm: 1, seconds: 1, dataSeconds: 0, samplesPerSecond: 4 },
  ...{ peakMemoryBytes: 5e8, epoch: 0, skipped: false },
};

const activity = { name: "edit", doing: "editing", options: {} };
const quietly = { activity, json: false, progress: true, quiet: false, verbose: false };

function reporter(options: Partial<typeof quietly>, isTTY = false) {
  const [stdout, stderr] = [new PassThrough(), Object.assign(new PassThrough(), { isTTY, columns: 120 })];
  const made = createReporter({ ...quietly, ...options }, { stdout, stderr });
  const take = () => ({ stdout: String(stdout.read() ?? ""), stderr: String(stderr.read() ?? "") });
  return { made, take };
}

function wholeEdit(made: PictureReporter): void {
  made.downloading({
    stage: "download",
    ...{ file: "vae/x.safetensors", downloadedBytes: 5e6, totalBytes: 1e7 },
    ...{ allDownloadedBytes: 5e7, allTotalBytes: 1e8 },
  });
  made.loading("/models/a");
  made.loaded(1, 40);
  for (let step = 1; step <= 40; step++)
    made.step({ step, totalSteps: 40, timestep: 1000 - step, stepsPerSecond: step === 1 ? undefined : 2 });
  made.warning("careful");
  made.detail("by the way");
  made.done(summary);
  made.stop();
}

describe("without a terminal", () => {
  it("a line reports every tenth of the work", () => {
    const { made, take } = reporter({});
    wholeEdit(made);
    const { stdout, stderr } = take();
    expect(stderr).toBe("ip2p: warning: careful\n");
    expect(stdout.split("\n")).toEqual([
      "downloading vae/x.safetensors: 50 % of 100 MB",
      "loading /models/a",
      "editing with --num_inference_steps 40",
      ...[4, 8, 12, 16, 20, 24, 28, 32, 36, 40].map((step) => `step ${step} of 40, 2.00 steps/s`),
      "a.png: 64×32, seed 7, 40 steps in 20 s, 2.00 steps/s",
      "",
    ]);
  });

  it("a line comes every ten seconds where steps are slow", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const { made, take } = reporter({});
      made.loaded(1, 100);
      take();
      for (let step = 1; step <= 4; step++) {
        vi.advanceTimersByTime(6000);
        made.step({ step, totalSteps: 100, timestep: 1, stepsPerSecond: 1 / 6 });
      }
      expect(take().stdout).toBe("step 2 of 100, 6.00 s/step\nstep 4 of 100, 6.00 s/step\n");
    } finally {
      vi.useRealTimers();
    }
  });

  it.each([
    [{ progress: false }, ["a.png: 64×32, seed 7, 40 steps in 20 s, 2.00 steps/s", ""], "ip2p: warning: careful\n"],
    [{ quiet: true }, [""], ""],
    [{ quiet: true, verbose: true }, [""], ""],
    [
      { progress: false, verbose: true },
      [
        "by the way",
        "StableDiffusionPipeline with DDIMScheduler, float32 on cpu; loading took 1.0 s, everything 22 s; at most 500 MB of memory",
        "a.png: 64×32, seed 7, 40 steps in 20 s, 2.00 steps/s",
        "",
      ],
      "ip2p: warning: careful\n",
    ],
  ])("%j shows the expected lines", (options, lines, warnings) => {
    const { made, take } = reporter(options);
    wholeEdit(made);
    const { stdout, stderr } = take();
    expect(stdout.split("\n")).toEqual(lines);
    expect(stderr).toBe(warnings);
  });
});

describe("JSON lines", () => {
  const events = (text: string) =>
    text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string });

  it("hold every event", () => {
    const { made, take } = reporter({ json: true }, true);
    wholeEdit(made);
    const { stdout, stderr } = take();
    expect(stderr).toBe("");
    expect(events(stdout).map(({ event }) => event)).toEqual([
      ...["downloading", "loading", "loaded", ...Array<string>(40).fill("step"), "warning", "done"],
    ]);
    expect(events(stdout)[0]).toEqual({
      ...{ event: "downloading", file: "vae/x.safetensors", downloaded_bytes: 5e6, total_bytes: 1e7 },
      ...{ all_downloaded_bytes: 5e7, all_total_bytes: 1e8 },
    });
  });

  it("are fewer without progress, and one if quiet", () => {
    const slow = reporter({ json: true, progress: false });
    wholeEdit(slow.made);
    expect(events(slow.take().stdout).map(({ event }) => event)).toEqual(["loading", "loaded", "warning", "done"]);
    const quiet = reporter({ json: true, quiet: true });
    wholeEdit(quiet.made);
    expect(events(quiet.take().stdout).map(({ event }) => event)).toEqual(["done"]);
  });
});

it("the memory of a CUDA device is reported if there is one", () => {
  const onCuda = { ...summary, device: "cuda:0", peakDeviceMemory: 3e9 };
  const json = reporter({ json: true });
  json.made.done(onCuda);
  expect(JSON.parse(json.take().stdout)).toMatchObject({ peak_memory_bytes: 5e8, peak_device_memory_bytes: 3e9 });
  const lines = reporter({ verbose: true });
  lines.made.done(onCuda);
  expect(lines.take().stdout).toContain("at most 500 MB of memory, 3000 MB on the device\n");
  const metrics = { ...record, peakDeviceMemoryBytes: 3e9 };
  expect(trackedValues(metrics)).toMatchObject({ peak_memory_bytes: 5e8, peak_device_memory_bytes: 3e9 });
  expect(trackedValues(record)).not.toHaveProperty("peak_device_memory_bytes");
});

describe("a terminal", () => {
  it("shows a bar with rate and time left, and removes it at the end", () => {
    const { made, take } = reporter({}, true);
    made.loading("/models/a");
    expect(take().stderr).toContain("loading");
    made.loaded(1, 40);
    made.step({ step: 1, totalSteps: 4, timestep: 1, stepsPerSecond: undefined });
    expect(take().stderr).toContain("1/4");
    made.warning("careful");
    expect(take().stderr).toMatch(/ip2p: warning: careful\n$/);
    made.step({ step: 2, totalSteps: 4, timestep: 1, stepsPerSecond: 0.5 });
    expect(take().stderr).toMatch(/editing .*2\/4 \| 2\.00 s\/step \| 4\.0 s left/);
    made.done(summary);
    made.stop();
    const { stdout, stderr } = take();
    expect(stdout).toBe("a.png: 64×32, seed 7, 40 steps in 20 s, 2.00 steps/s\n");
    // The cursor is visible again.
    expect(stderr).toContain("\x1b[?25h");
  });

  it("shows no bar if progress is off", () => {
    const { made, take } = reporter({ progress: false }, true);
    wholeEdit(made);
    expect(take()).toEqual({
      stdout: "a.png: 64×32, seed 7, 40 steps in 20 s, 2.00 steps/s\n",
      stderr: "ip2p: warning: careful\n",
    });
  });
});

describe("figures", () => {
  it("the rate excludes the first step, which is a warm-up", () => {
    const clock = new StepClock();
    expect([clock.tick(5000), clock.tick(5500), clock.tick(6000)]).toEqual([undefined, 2, 2]);
    expect(clock.steps).toBe(3);
  });

  it("are short", () => {
    expect([0.04, 0.5, 1, 12.345, 250].map(rateText)).toEqual([
      ...["25.0 s/step", "2.00 s/step", "1.00 steps/s", "12.3 steps/s", "250 steps/s"],
    ]);
    expect([0.04, 9.96, 10, 59, 59.6, 61, 3599].map(secondsText)).toEqual([
      ...["0.0 s", "10.0 s", "10 s", "59 s", "1 min 0 s", "1 min 1 s", "59 min 59 s"],
    ]);
  });
});

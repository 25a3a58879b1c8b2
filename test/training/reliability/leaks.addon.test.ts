import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { native } from "../../../lib/runtime/native.js";
import { Trainer } from "../../../lib/training/trainer.js";
import { TemporaryFolder, tinyOptions, trained, watch } from "./tiny-run.js";

let folder: TemporaryFolder;
const warnings: Error[] = [];
const listen = (warning: Error) => void warnings.push(warning);

beforeAll(() => {
  folder = new TemporaryFolder();
  process.on("warning", listen);
});
afterAll(() => {
  process.off("warning", listen);
  folder[Symbol.dispose]();
});

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Paths of this process's open files, where the system tells them. */
function openFiles(): number {
  return process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0;
}

/** A signal that fires when it is looked at for the n-th time: at every place that a run can be stopped at. */
function abortedAtLook(n: number): { signal: AbortSignal; looks: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")!.get!;
  let looks = 0;
  Object.defineProperty(signal, "aborted", {
    get() {
      looks += 1;
      if (looks === n) controller.abort();
      return aborted.call(signal);
    },
  });
  return { signal, looks: () => looks };
}

const options = (name: string) =>
  tinyOptions(folder.at(name), {
    ...{ maxTrainSteps: 2, cacheLatents: true, cacheDir: folder.at(name), checkpointingSteps: 1 },
    ...{ valImageUrl: `${tinyOptions("").trainDataDir}/images/000_a.png`, validationPrompt: "make it snow" },
    ...{ numValidationImages: 1 },
  });

test("a run that is stopped at any stage closes its files and frees its trainer", async () => {
  await trained(options("counted"));
  const all = abortedAtLook(0);
  await trained({ ...options("counted"), signal: all.signal });
  const create = vi.spyOn(Trainer, "create");
  const before = openFiles();
  // Each early look, where things are opened, and then wider and wider apart.
  for (let look = 1; look <= all.looks(); look += Math.max(1, Math.floor(look / 6))) {
    const name = `stopped-${look}`;
    const seen = await watch({ ...options(name), signal: abortedAtLook(look).signal });
    if (seen.error !== undefined)
      expect((seen.error as { code?: string }).code, String(seen.error)).toBe("ERR_ABORTED");
    expect(openFiles(), `files after look ${look}`).toBe(before);
  }
  for (const { value } of create.mock.settledResults)
    await expect((value as Trainer).gradients()).rejects.toMatchObject({ code: "ERR_DISPOSED" });
  create.mockRestore();
  // A file handle that is collected open warns, and ends the process from Node 26 on.
  for (let round = 0; round < 3; round++) {
    collect();
    await sleep(10);
  }
  expect(warnings.filter(({ message }) => /file descriptor|garbage collection/i.test(message))).toEqual([]);
});

test("so does a run that fails later", async () => {
  await trained(options("complete"));
  const before = openFiles();
  const failure = new Error("no memory");
  const create = vi.spyOn(Trainer, "create").mockRejectedValue(failure);
  expect((await watch(options("complete"))).error).toBe(failure);
  create.mockRestore();
  expect(openFiles()).toBe(before);

  const made = vi.spyOn(Trainer, "create");
  const copy = vi.spyOn(native(), "copyTensors").mockRejectedValue(failure);
  expect((await watch({ ...options("complete"), resumeFromCheckpoint: "latest" })).error).toBe(failure);
  copy.mockRestore();
  const trainer = made.mock.settledResults[0]!.value as Trainer;
  made.mockRestore();
  await expect(trainer.gradients()).rejects.toMatchObject({ code: "ERR_DISPOSED" });
  expect(openFiles()).toBe(before);
});

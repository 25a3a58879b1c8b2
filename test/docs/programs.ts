import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { type Outcome, runProgram, type Workplace } from "../cli/run-cli.js";
import { type Block, blocks, root } from "./pages.js";
import type { DocsWorld } from "./workplace.js";

/** What makes programs small enough for a test. */
export const SMALLER: [string, string][] = [
  // Which processors without instructions for it compute very slowly.
  ['dtype: "float16"', 'dtype: "float32"'],
  ["resize(512, 512,", "resize(64, 64,"],
  ["image: latents, numInferenceSteps: 20", "image: latents, numInferenceSteps: 2"],
  ["image: twice.images[0], numInferenceSteps: 20", "image: twice.images[0], numInferenceSteps: 2"],
  ["maxTrainSteps: 15000", "maxTrainSteps: 2, resolution: 32, trainBatchSize: 1, numThreads: 1"],
  [
    'output: "./evaluation", count: 2',
    'output: "./evaluation", count: 1, numInferenceSteps: 1, imageGuidanceScales: [1.5]',
  ],
  ['clip: "./clip", count: 2', 'clip: "./clip", count: 2, numInferenceSteps: 2'],
  ["pipeline, count: 20", "pipeline, count: 2"],
  ["prompt, image: start }", "prompt, image: start, height: 32, width: 32, numInferenceSteps: 4 }"],
  ["height: 768, width: 768", "height: 32, width: 32, numInferenceSteps: 4"],
  ["height: 512,\n  width: 512", "height: 64, width: 64"],
];

/** All programs of the pages with their places. */
export const programs = blocks("js", "ts").map((block) => [block.where, block] as const);

/** Whether it is one of the many short programs of the API's reference, which the slow tier runs. */
export const isReference = ({ where }: Block) => where.startsWith("docs/api.md:");

/** Whether it listens until it is stopped. */
export const isServer = ({ code }: Block) => code.includes(".listen(") && !code.includes(".close()");

/** Writes a program, made small, and gives its path. */
export function write(place: Workplace, { code }: Block, name = "program.mjs"): string {
  const path = place.at(name);
  writeFileSync(
    path,
    SMALLER.reduce((text, [from, to]) => text.replaceAll(from, to), code),
  );
  return path;
}

/** Runs programs one after the other in one process; each must end well, and without a warning. */
export async function expectToRun(running: readonly Block[], world: DocsWorld): Promise<void> {
  using all = world.place();
  const paths = running.map((block, i) => {
    // What only reads shares a folder: copies of the models take longer than most programs.
    const place = block.code.includes("output") ? world.place(all.at(String(i))) : all;
    // Training would warn of a model there that it replaces.
    if (block.code.includes('outputDir: "./my-model"')) rmSync(place.at("my-model"), { recursive: true });
    return write(place, block, `program-${i}.mjs`);
  });
  const whole = await runProgram(join(import.meta.dirname, "run-programs.mjs"), paths, { cwd: root, env: world.env });
  const outcomes = whole.stdout.split("\n").flatMap((line) => (line === "" ? [] : (JSON.parse(line) as Outcome)));
  expect(
    running.map(({ where }, i) => ({ where, status: outcomes[i]?.status, stderr: outcomes[i]?.stderr })),
    whole.stderr,
  ).toEqual(running.map(({ where }) => ({ where, status: 0, stderr: "" })));
  expect(whole).toMatchObject({ status: 0, stderr: "" });
}

import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import type { JointPassInfo, StepBatchingOptions } from "../../lib/pipelines/batching/step-batcher.js";
import { bytesOf } from "../../lib/pipelines/check-memory.js";
import { unetMemory } from "../../lib/pipelines/footprint.js";
import type { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { tinyPipeline } from "../runtime/tiny.js";

/** What the system says is free, while a pass is asked about; images alone are small enough here never to ask. */
const free = vi.hoisted(() => ({ bytes: Number.POSITIVE_INFINITY }));
vi.mock("../../lib/pipelines/free-memory.js", async (original) => ({
  ...(await original<object>()),
  memoryOn: async () => free.bytes,
}));

let pipe: InstructPix2PixPipeline;
let square: Tensor;
let wide: Tensor;
beforeAll(async () => {
  pipe = await tinyPipeline();
  const picture = (width: number) => Tensor.rand([1, 3, 32, width], { generator: new Generator("cpu", 1) });
  [square, wide] = [await picture(32), await picture(48)];
});
afterAll(() => pipe.dispose());
afterEach(() => {
  pipe.disableStepBatching();
  free.bytes = Number.POSITIVE_INFINITY;
});

/** What happens, in its order: passes, and after them the steps that they made. */
type Event = JointPassInfo | { run: string; step: number };
let events: Event[];
function begin(options: StepBatchingOptions = {}): void {
  events = [];
  pipe.enableStepBatching({ ...options, onPass: (pass) => events.push(pass) });
}
const passes = () => events.filter((each) => "rows" in each) as JointPassInfo[];
const stepsOf = (run: string) => events.filter((each) => "run" in each && each.run === run).length;
const edit = async (run: string, image: Tensor, numInferenceSteps: number, numImagesPerPrompt = 1) => {
  const { images } = await pipe.run({
    ...{ prompt: "make it winter", image, numInferenceSteps, numImagesPerPrompt, seed: 3, outputType: "tensor" },
    onStep: ({ step }) => void events.push({ run, step }),
  });
  return images;
};

test("a large request and small ones of another size take turns by passes, so that neither waits for the other's end", async () => {
  begin();
  const large = edit("large", wide, 40, 4);
  await vi.waitFor(() => expect(stepsOf("large")).toBeGreaterThan(0), { timeout: 60_000, interval: 1 });
  await Promise.all(Array.from({ length: 3 }, (_, i) => edit(`small ${i}`, square, 8)));
  const together = passes().map(({ rows }) => (rows === 12 ? "large" : "small"));
  await large;
  expect(passes().some(({ runs, rows }) => runs === 3 && rows === 9)).toBe(true);
  // While both are there, none has more than a few passes in a row: the small ones join one after the other.
  const both = together.slice(together.indexOf("small"), together.lastIndexOf("small"));
  expect(both.filter((kind) => kind === "large").length).toBeGreaterThanOrEqual(5);
  for (const row of both.join(" ").split(/(?<=large) (?=small)|(?<=small) (?=large)/))
    expect(row.split(" ").length).toBeLessThanOrEqual(4);
});

test("of more runs than a pass holds, those come first that have waited longest", async () => {
  begin({ maxRows: 6 });
  await Promise.all(Array.from({ length: 5 }, (_, i) => edit(`run ${i}`, square, 10)));
  const done = new Map<string, number>();
  for (const event of events) {
    if (!("run" in event)) continue;
    done.set(event.run, event.step + 1);
    // From the moment at which all have begun, none gets ahead of another by more than two turns.
    if (done.size === 5) expect(Math.max(...done.values()) - Math.min(...done.values())).toBeLessThanOrEqual(3);
  }
  for (const { rows } of passes()) expect(rows).toBeLessThanOrEqual(6);
  expect(passes().some(({ runs }) => runs === 2)).toBe(true);
});

test("a pass has no more rows than the memory that is free holds, and grows again when there is more", async () => {
  const factor = 2 ** (pipe.vae.config.block_out_channels.length - 1);
  const latents = { height: square.shape[2]! / factor, width: square.shape[3]! / factor };
  const each = unetMemory(pipe.unet.config, latents, { rows: 1, bytes: bytesOf(pipe.unet) });
  // A fifth is left to others: of what eight rows take, there are six.
  free.bytes = 8 * each;
  begin();
  await Promise.all(Array.from({ length: 4 }, (_, i) => edit(`run ${i}`, square, 6)));
  expect(Math.max(...passes().map(({ rows }) => rows))).toBe(6);
  free.bytes = 0; // A run alone is never refused here: it was checked when it began.
  begin();
  await Promise.all([0, 1].map((i) => edit(`run ${i}`, square, 4)));
  expect(passes().every(({ runs }) => runs === 1)).toBe(true);
  free.bytes = Number.POSITIVE_INFINITY;
  begin();
  await Promise.all(Array.from({ length: 4 }, (_, i) => edit(`run ${i}`, square, 6)));
  expect(Math.max(...passes().map(({ rows }) => rows))).toBe(12);
});

test("rows that memory did not hold are not tried again, and their runs go on one by one", async () => {
  begin();
  const { unet } = pipe;
  const forward = unet.forward.bind(unet);
  const tried: number[] = [];
  unet.forward = async (sample, timesteps, text, options) => {
    const rows = Array.isArray(timesteps) ? timesteps.length : 0;
    if (rows > 0) tried.push(rows);
    if (rows > 6) throw new InstructPix2PixError("ERR_OUT_OF_MEMORY", "seeded");
    return await forward(sample, timesteps, text, options);
  };
  try {
    await Promise.all(Array.from({ length: 4 }, (_, i) => edit(`run ${i}`, square, 8)));
  } finally {
    unet.forward = forward;
  }
  for (let i = 0; i < 4; i++) expect(stepsOf(`run ${i}`)).toBe(8);
  const failed = tried.filter((rows) => rows > 6);
  expect(failed.length).toBeGreaterThan(0);
  // Each failure lowers the bound.
  expect(failed).toEqual([...new Set(failed)].sort((a, b) => b - a));
  expect(tried.slice(tried.lastIndexOf(failed.at(-1)!) + 1).every((rows) => rows <= 6)).toBe(true);
});

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import type { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { bits, objectsLeftBehind, quickEdit, tinyPipeline } from "./tiny.js";

/** The stages of a run; an abort can happen in each. */
const MOMENTS = ["text", "encode", "unet", "scheduler", "step", "decode"] as const;
type Moment = (typeof MOMENTS)[number];

/** The run's moment `moment`, on its first or only occurrence: the signal fires when the native work is queued. */
function abortDuring(pipe: InstructPix2PixPipeline, moment: Moment, abort: () => void): { restore(): void } {
  const restores: (() => void)[] = [];
  const after = <T extends object, K extends keyof T>(target: T, key: K): void => {
    const method = target[key] as (...args: unknown[]) => unknown;
    target[key] = ((...args: unknown[]) => {
      const result = method.apply(target, args);
      abort();
      return result;
    }) as T[K];
    restores.push(() => {
      // The method of the prototype shows again.
      delete target[key];
    });
  };
  if (moment === "text") after(pipe.textEncoder, "forward");
  if (moment === "encode") after(pipe.vae, "encode");
  if (moment === "unet") after(pipe.unet, "forward");
  if (moment === "decode") after(pipe.vae, "decode");
  if (moment === "scheduler") {
    const clone = pipe.scheduler.clone.bind(pipe.scheduler);
    pipe.scheduler.clone = () => {
      const scheduler = clone();
      after(scheduler, "step");
      return scheduler;
    };
    restores.push(() => Reflect.deleteProperty(pipe.scheduler, "clone"));
  }
  return { restore: () => restores.forEach((restore) => void restore()) };
}

describe("an abort", () => {
  let pipe: InstructPix2PixPipeline;
  let image: Tensor;
  let uninterrupted: Buffer;
  let prompts = 0;
  const latentRun = async () => bits((await pipe.run({ ...quickEdit({ image }), outputType: "latent" })).images);
  beforeAll(async () => {
    pipe = await tinyPipeline();
    image = await Tensor.rand([1, 3, 64, 64]);
    uninterrupted = await latentRun();
  });
  afterAll(() => {
    image.dispose();
    pipe.dispose();
  });

  /** Runs, aborting at a moment; gives the number of steps done and how the run ended. */
  async function abortedRun(moment: Moment, reason?: unknown) {
    const controller = new AbortController();
    let steps = 0;
    const hook = abortDuring(pipe, moment, () => controller.abort(reason));
    try {
      const run = pipe.run({
        ...quickEdit({ image, numInferenceSteps: 3, signal: controller.signal }),
        // A prompt that is not remembered.
        ...(moment === "text" && { prompt: `number ${++prompts}` }),
        onStep: () => {
          steps++;
          if (moment === "step") controller.abort(reason);
        },
      });
      const error = await run.then(
        () => undefined,
        (error: unknown) => error,
      );
      return { error, steps, signal: controller.signal };
    } finally {
      hook.restore();
    }
  }

  test.each(MOMENTS)(
    "during %s stops the run within a step, with ERR_ABORTED and the signal's reason",
    async (moment) => {
      const reason = { why: moment };
      const { error, steps } = await abortedRun(moment, reason);
      expect(error).toMatchObject({ name: "InstructPix2PixError", code: "ERR_ABORTED" });
      expect((error as Error).cause).toBe(reason);
      expect(steps).toBe({ text: 0, encode: 0, unet: 0, scheduler: 1, step: 1, decode: 3 }[moment]);
      expect(await latentRun()).toEqual(uninterrupted);
    },
  );

  test("without a reason has the signal's default reason as its cause", async () => {
    const { error, signal } = await abortedRun("unet");
    expect((error as Error).cause).toBe(signal.reason);
    expect((error as Error).cause).toMatchObject({ name: "AbortError" });
  });

  test("before the run prevents it from starting", async () => {
    let reached = false;
    const hook = abortDuring(pipe, "text", () => {
      reached = true;
    });
    const run = pipe.run(quickEdit({ image: "/no/such/picture", signal: AbortSignal.abort("early") }));
    await expect(run).rejects.toMatchObject({ code: "ERR_ABORTED", cause: "early" });
    hook.restore();
    expect(reached).toBe(false);
  });

  test("by a timeout stops a single long job between its layers", async () => {
    // Seconds of work in one call.
    using large = await Tensor.rand([1, 3, 192, 192]);
    const begun = performance.now();
    using posterior = await pipe.vae.encode(large);
    using decoded = await pipe.vae.decode(posterior.mean);
    const whole = performance.now() - begun;
    decoded.dispose();

    const controller = new AbortController();
    const aborted = pipe.vae.decode(posterior.mean, { signal: controller.signal });
    // Behind it in the queue: not begun yet when the signal fires.
    const waiting = pipe.vae.decode(posterior.mean, { signal: controller.signal });
    setTimeout(() => controller.abort(), Math.min(5, whole / 10));
    for (const run of [aborted, waiting]) await expect(run).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  test("leaves no tensor behind", async () => {
    for (const moment of MOMENTS) {
      const left = await objectsLeftBehind(() => abortedRun(moment));
      // A prompt is remembered if it had been encoded when the abort came.
      if (moment === "text") expect([0, 1]).toContain(left);
      else expect(left, moment).toBe(0);
    }
  });

  test("of one run does not affect another", async () => {
    const controller = new AbortController();
    const aborted = pipe.run(
      quickEdit({ image, numInferenceSteps: 50, signal: controller.signal, onStep: () => controller.abort() }),
    );
    const [first, second] = await Promise.all([latentRun(), aborted.catch((error) => error)]);
    expect(second).toMatchObject({ code: "ERR_ABORTED" });
    expect(first).toEqual(uninterrupted);
  });

  test("after the end of a run does nothing", async () => {
    const controller = new AbortController();
    await pipe.run(quickEdit({ image, signal: controller.signal }));
    controller.abort();
    expect(await latentRun()).toEqual(uninterrupted);
  });
});

test("an error of onStep ends the run with that error and leaves no tensor behind", async () => {
  using pipe = await tinyPipeline();
  const error = new Error("of the caller");
  let steps = 0;
  const run = (onStep: () => void | Promise<void>) => pipe.run(quickEdit({ numInferenceSteps: 4, onStep }));
  await run(() => {}); // from here on the prompts are remembered
  const thrown = () => {
    if (++steps % 2 === 0) throw error;
  };
  expect(await objectsLeftBehind(() => expect(run(thrown)).rejects.toBe(error))).toBe(0);
  expect(await objectsLeftBehind(() => expect(run(() => Promise.reject(error))).rejects.toBe(error))).toBe(0);
  await expect(run(() => {})).resolves.toBeDefined();
});

test("a run leaves no tensor behind", async () => {
  using pipe = await tinyPipeline();
  using image = await Tensor.rand([1, 3, 64, 64]);
  await pipe.run(quickEdit({ image })); // from here on the prompts are remembered
  for (const outputType of ["tensor", "latent"] as const) {
    const run = async () => (await pipe.run({ ...quickEdit({ image }), outputType })).images.dispose();
    expect(await objectsLeftBehind(run), outputType).toBe(0);
  }
  expect(await objectsLeftBehind(() => pipe.run(quickEdit({ image })))).toBe(0);
});

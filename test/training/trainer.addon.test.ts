import { afterEach, describe, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import type { AttentionBackend } from "../../lib/runtime/contract/index.js";
import type { TrainerOptions } from "../../lib/training/parameter-trainer.js";
import type { MicroBatch } from "../../lib/training/trainer.js";
import { fixture } from "../helpers/fixtures.js";
import { type BenchShape, TrainingBench } from "./training-bench.js";

const model = fixture("script-full", "base");
const open: TrainingBench[] = [];
afterEach(() => {
  for (const bench of open.splice(0)) bench[Symbol.dispose]();
});

async function bench(options: Partial<TrainerOptions> = {}, shape: BenchShape = {}): Promise<TrainingBench> {
  const made = await TrainingBench.open(model, options, shape);
  open.push(made);
  return made;
}

async function gradients({ trainer }: TrainingBench): Promise<Map<string, Float32Array>> {
  const all = new Map<string, Float32Array>();
  for (const [name, tensor] of Object.entries(await trainer.gradients()))
    all.set(name, Float32Array.from(await tensor.toArray(), Number));
  expect(all.size).toBeGreaterThan(50);
  return all;
}

/** The 2-norm of the difference of all gradients together, relative to the gradients. */
function distance(a: Map<string, Float32Array>, b: Map<string, Float32Array>): number {
  let [difference, size] = [0, 0];
  for (const [name, values] of a)
    for (const [i, x] of values.entries()) {
      difference += (x - b.get(name)![i]!) ** 2;
      size += x ** 2;
    }
  expect([...b.keys()]).toEqual([...a.keys()]);
  return Math.sqrt(difference / size);
}

/** One row of a batch as a batch of its own. */
async function row(batch: MicroBatch, i: number): Promise<MicroBatch> {
  const pick = async (tensor: Tensor): Promise<Tensor> => {
    const [rows, ...shape] = tensor.shape as [number, ...number[]];
    const values = await tensor.toArray();
    const size = values.length / rows;
    return Tensor.from(values.slice(i * size, (i + 1) * size), [1, ...shape]);
  };
  return {
    sample: await pick(batch.sample),
    timesteps: await pick(batch.timesteps),
    conditions: { embeddings: await pick(batch.conditions.embeddings!) },
    target: await pick(batch.target),
  };
}

test("four micro-steps of one row give the loss and the gradients of one of four rows", async () => {
  const [once, often] = [await bench(), await bench()];
  const batch = await once.batch(1);
  const whole = await (await once.trainer.accumulate(batch, 1)).item();
  let parts = 0;
  for (let i = 0; i < 4; i++) parts += (await (await often.trainer.accumulate(await row(batch, i), 1 / 4)).item()) / 4;
  expect(Math.abs(parts / whole - 1)).toBeLessThan(1e-6);
  expect(distance(await gradients(once), await gradients(often))).toBeLessThan(1e-5);
});

describe.each([null, "bfloat16"] as const)("with mixed precision %s", (mixedPrecision) => {
  test("gradient checkpointing gives the same loss, and the same gradients up to rounding", async () => {
    const [kept, again] = [
      await bench({ mixedPrecision }),
      await bench({ mixedPrecision, gradientCheckpointing: true }),
    ];
    expect(await again.accumulate(1)).toBe(await kept.accumulate(1));
    // Where a tensor is used more than once, its gradients are added up in another order, in the lower precision.
    const tolerance = mixedPrecision ? 1e-2 : 1e-6;
    expect(distance(await gradients(kept), await gradients(again))).toBeLessThan(tolerance);
  });

  test("attention backends give the same loss and gradients", async () => {
    const backends: AttentionBackend[] = ["math", "auto"];
    const [plain, fast] = await Promise.all(backends.map((attention) => bench({ mixedPrecision }, { attention })));
    const tolerance = mixedPrecision ? 2e-2 : 1e-5;
    expect(Math.abs((await fast!.accumulate(1)) / (await plain!.accumulate(1)) - 1)).toBeLessThan(tolerance);
    expect(distance(await gradients(plain!), await gradients(fast!))).toBeLessThan(tolerance);
  });
});

test.each([
  ["bfloat16", 2e-3, 3e-2],
  ["float16", 5e-4, 5e-3],
] as const)("%s gives the loss and gradients of float32, up to its precision", async (type, loss, gradient) => {
  const [full, half] = [await bench(), await bench({ mixedPrecision: type })];
  expect(Math.abs((await half.accumulate(1)) / (await full.accumulate(1)) - 1)).toBeLessThan(loss);
  const [exact, rounded] = [await gradients(full), await gradients(half)];
  expect(distance(exact, rounded)).toBeLessThan(gradient);
  expect(distance(exact, rounded), "it did compute in half precision").toBeGreaterThan(1e-5);
  // Weights, and so their gradients, stay in float32.
  expect(Object.values(await half.trainer.gradients()).every(({ dtype }) => dtype === "float32")).toBe(true);
});

test("the loss scale does not affect the norm or the update", async () => {
  const [plain, scaled] = [await bench(), await bench()];
  await plain.accumulate(1);
  await scaled.accumulate(1, 65536);
  const [a, b] = [await plain.trainer.step(1e-3, 1), await scaled.trainer.step(1e-3, 1, 65536)];
  expect(b.gradNorm).toBe(a.gradNorm);
  expect(await scaled.everything()).toEqual(await plain.everything());
});

test.each([
  ["infinite", Number.POSITIVE_INFINITY],
  ["no numbers", Number.NaN],
])(
  "gradients that are %s are reported, and weights, moments, step count and EMA weights are unchanged",
  async (_, factor) => {
    const made = await bench({ useEma: true });
    const { trainer } = made;
    await made.accumulate(1);
    await trainer.step(1e-3, 1);
    await trainer.updateEma(0);
    const before = await made.everything();
    await made.accumulate(2);
    await made.accumulate(3, factor);
    const { gradNorm, skipped } = await trainer.step(1e-3, 1);
    expect(skipped).toBe(true);
    expect(gradNorm).not.toSatisfy(Number.isFinite);
    expect(await made.everything()).toEqual(before);
    // The gradients are gone, and the next step is as if nothing had been.
    expect(Object.keys(await trainer.gradients())).toEqual([]);
    await made.accumulate(2);
    expect(await trainer.step(1e-3, 1)).toMatchObject({ skipped: false });
  },
);

test.each([
  ["bfloat16", { gradientCheckpointing: true }],
  ["bfloat16", { optimizer: "adamw_8bit" }],
  ["float16", {}],
] as const)("shadow weights in %s do not change the results, with %j", async (mixedPrecision, options) => {
  const run = async (shadowWeights: boolean) => {
    const made = await bench({ useEma: true, mixedPrecision, shadowWeights, ...options });
    const losses: number[] = [];
    for (let step = 0; step < 4; step++) {
      for (const micro of [0, 1]) losses.push(await made.accumulate(2 * step + micro));
      if (step === 2) {
        // A pass with the EMA weights does not replace the weights.
        await made.trainer.forgetGradients();
        losses.push(await made.trainer.withEma(() => made.accumulate(9)));
        await made.trainer.forgetGradients();
        await made.accumulate(10, Number.POSITIVE_INFINITY);
      }
      await made.trainer.step(1e-3, 1, 1, 0.5);
    }
    losses.push(await made.accumulate(11));
    return { losses, ...(await made.everything()) };
  };
  expect(await run(true)).toEqual(await run(false));
});

test("clipping reduces the norm to the limit and does not change smaller ones", async () => {
  const reached = async (limit: number): Promise<Record<string, string>> => {
    const made = await bench();
    await made.accumulate(1);
    await made.trainer.step(1e-3, limit);
    return made.everything();
  };
  const made = await bench();
  await made.accumulate(1);
  const { gradNorm } = await made.trainer.step(1e-3, 1e9);
  const free = await made.everything();
  expect(await reached(gradNorm * 2)).toEqual(free);
  const clipped = await reached(gradNorm / 2);
  const moment = Object.keys(free).find((name) => name.startsWith("optimizer.exp_avg."))!;
  expect(clipped[moment]).not.toBe(free[moment]);
});

test("a step without gradients is refused", async () => {
  const { trainer } = await bench();
  await expect(trainer.step(1e-3, 1)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});

test("a micro-step that is cancelled leaves no gradients behind for the next step", async () => {
  const made = await bench();
  const stop = new AbortController();
  stop.abort();
  await expect(made.trainer.accumulate(await made.batch(1), 1, { signal: stop.signal })).rejects.toMatchObject({
    code: "ERR_ABORTED",
  });
  expect(Object.keys(await made.trainer.gradients())).toEqual([]);
});

test.each([false, true])("a step with the EMA equals a step followed by an EMA update (8 bits: %s)", async (bits) => {
  const options = { useEma: true, optimizer: bits ? "adamw_8bit" : "adamw" } as const;
  const [along, after] = [await bench(options), await bench(options)];
  const steps: [factor: number, decay: number][] = [
    [1, 0],
    [1, 0.5],
    [Number.POSITIVE_INFINITY, 0.9], // skipped, yet the EMA weights are updated
    [1, 0.9],
  ];
  for (const [seed, [factor, decay]] of steps.entries()) {
    for (const made of [along, after]) await made.accumulate(seed, factor);
    const skipped = !Number.isFinite(factor);
    expect(await along.trainer.step(1e-3, 1, 1, decay)).toMatchObject({ skipped });
    expect(await after.trainer.step(1e-3, 1)).toMatchObject({ skipped });
    await after.trainer.updateEma(decay);
    expect(await along.everything()).toEqual(await after.everything());
  }
});

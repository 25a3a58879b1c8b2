import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import type { JointPassInfo } from "../../lib/pipelines/batching/step-batcher.js";
import { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import { fixture } from "../helpers/fixtures.js";
import { tinyPipeline } from "../runtime/tiny.js";

/** What each image of a batch may differ by from the one that is computed alone, of a range of 1. */
const SAME = 1e-5;
/** The slow tier tries many. */
const REQUESTS = process.env.ALL_CASES === "1" ? 200 : 12;

/** Numbers in 0..1 that are the same in every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function apart(a: Tensor, b: Tensor): Promise<number> {
  expect(a.shape).toEqual(b.shape);
  const [x, y] = [await a.toArray(), await b.toArray()];
  return Array.from(x, Number).reduce((most, value, i) => Math.max(most, Math.abs(value - Number(y[i]))), 0);
}

const picture = (seed: number, height: number, width: number) =>
  Tensor.rand([1, 3, height, width], { generator: new Generator("cpu", seed) });

describe("edits that join and leave", () => {
  let pipe: InstructPix2PixPipeline;
  const passes: JointPassInfo[] = [];
  beforeAll(async () => {
    pipe = await tinyPipeline();
  });
  afterAll(() => pipe.dispose());

  const run = async (options: object, scheduler = "EulerAncestralDiscreteScheduler") => {
    using own = InstructPix2PixPipeline.fromPipe(pipe, {
      scheduler: schedulerFromClassName(scheduler).fromConfig(pipe.scheduler.config),
    });
    return (await own.run({ prompt: "make it winter", ...options, outputType: "tensor" } as never))
      .images as never as Tensor;
  };

  /** Random requests: of two sizes, several schedulers, one to three rows of guidance, one or two images. */
  async function requests(count: number) {
    const random = randomNumbers(1);
    const one = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)]!;
    const pictures = [await picture(1, 32, 32), await picture(2, 32, 48)];
    return Array.from({ length: count }, (_, i) => ({
      scheduler: one([
        "EulerAncestralDiscreteScheduler",
        "DDIMScheduler",
        "HeunDiscreteScheduler",
        "UniPCMultistepScheduler",
      ]),
      wait: random() * 20,
      leaves: random() < 0.15,
      options: {
        ...{ image: pictures[random() < 0.8 ? 0 : 1]!, seed: i, prompt: one(["make it winter", "a red car", ""]) },
        ...{ numInferenceSteps: 2 + Math.floor(random() * 7), numImagesPerPrompt: random() < 0.8 ? 1 : 2 },
        ...one([{}, { guidanceScale: 1 }, { imageGuidanceScale: 1 }, { guidanceScale: 4, imageGuidanceScale: 2 }]),
        ...one([{}, {}, {}, { deepCacheInterval: 2 }, { guidanceInterval: [0.2, 0.7] }]),
        ...(random() < 0.2 && { onStep: () => new Promise<void>((resolve) => setTimeout(resolve, 5)) }),
      },
    }));
  }

  test(`${REQUESTS} random requests get the images that they get alone`, async () => {
    const all = await requests(REQUESTS);
    pipe.enableStepBatching({ maxRows: 16, onPass: (pass) => passes.push(pass) });
    const together: Promise<Tensor | undefined>[] = [];
    let inside = 0;
    for (const { options, scheduler, wait, leaves } of all) {
      while (inside >= 8) await new Promise((resolve) => setTimeout(resolve, 2));
      inside++;
      const controller = new AbortController();
      const onStep = () => controller.abort();
      const leaving = leaves ? { signal: controller.signal, onStep } : {};
      const done = run({ ...options, ...leaving }, scheduler)
        .catch((error) => {
          if (!leaves || error.code !== "ERR_ABORTED") throw error;
        })
        .finally(() => inside--);
      together.push(done as Promise<Tensor | undefined>);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
    const results = await Promise.all(together);
    pipe.disableStepBatching();
    const counts = passes.map(({ runs }) => runs);
    expect(Math.max(...counts)).toBeGreaterThan(2);
    for (const { rows, runs } of passes) expect(rows <= 16 || runs === 1).toBe(true);
    const before = passes.length;
    let worst = 0;
    for (const [i, { options, scheduler, leaves }] of all.entries()) {
      if (leaves) expect(results[i]).toBeUndefined();
      else {
        const { onStep: _, ...same } = options as { onStep?: unknown };
        worst = Math.max(worst, await apart(results[i]!, await run(same, scheduler)));
      }
    }
    expect(worst).toBeLessThan(SAME);
    expect(passes).toHaveLength(before); // off again
  });

  test("a run that fails in a pass does not take others with it, and one that waits can be cancelled", async () => {
    const image = await picture(3, 32, 32);
    pipe.enableStepBatching();
    const { unet } = pipe;
    const forward = unet.forward.bind(unet);
    // A pass of several fails, as when memory runs out; each alone does not.
    let failures = 0;
    unet.forward = (sample, timesteps, text, options) => {
      if (Array.isArray(timesteps)) {
        failures++;
        return Promise.reject(new Error("seeded"));
      }
      return forward(sample, timesteps, text, options);
    };
    const controller = new AbortController();
    const options = { image, numInferenceSteps: 3 };
    const [first, second, third] = await Promise.allSettled([
      run({ ...options, seed: 1 }),
      run({ ...options, seed: 2 }),
      run({
        ...options,
        seed: 3,
        signal: controller.signal,
        onProgress: ({ step }: { step?: number }) => step === 1 && controller.abort(),
      }),
    ]);
    unet.forward = forward as never;
    pipe.disableStepBatching();
    expect(failures).toBeGreaterThan(0);
    expect(third).toMatchObject({ status: "rejected", reason: { code: "ERR_ABORTED" } });
    for (const [seed, result] of [first, second].entries()) {
      if (result.status === "rejected") throw result.reason;
      expect(await apart(result.value, await run({ ...options, seed: seed + 1 }))).toBeLessThan(SAME);
    }
  });

  test("options are checked", () => {
    expect(() => pipe.enableStepBatching({ maxRows: 0 })).toThrow("maxRows");
    expect(() => pipe.enableStepBatching({ rows: 1 } as never)).toThrow("maxRows");
  });
});

describe("other families", () => {
  const size = { height: 32, width: 32 };
  const families: [name: string, folder: string[], options: () => Promise<object>, most?: number][] = [
    ["Stable Diffusion from text", ["text2img", "model"], async () => ({ prompt: "a cat", ...size })],
    [
      "inpainting",
      ["inpaint", "model"],
      async () => ({
        prompt: "a cat",
        image: await picture(4, 32, 32),
        maskImage: await Tensor.full([1, 1, 32, 32], 1),
      }),
    ],
    [
      "Stable Diffusion XL's edits",
      ["sdxl-ip2p", "model"],
      async () => ({ prompt: "a cat", image: await picture(5, 32, 32), ...size }),
    ],
    ["Kandinsky 2.2's decoder", ["kandinsky22", "decoder"], async () => ({ ...(await embeddings()), ...size })],
    [
      "a ControlNet",
      ["controlnet", "model"],
      async () => ({ prompt: "a cat", image: await picture(6, 32, 32), controlImage: await picture(9, 32, 32) }),
    ],
    [
      "the x4 upscaler",
      ["upscale-x4", "model"],
      async () => ({ prompt: "a cat", image: await picture(7, 16, 16) }),
      // Its autoencoder amplifies differences of latents more.
      3e-5,
    ],
  ];
  const embeddings = async () => {
    const generator = new Generator("cpu", 8);
    return {
      imageEmbeds: await Tensor.randn([1, 32], { generator }),
      negativeImageEmbeds: await Tensor.randn([1, 32], { generator }),
    };
  };

  test.each(families)("%s", async (_, folder, make, most = SAME) => {
    using pipe = (await DiffusionPipeline.fromPretrained(fixture(...folder), {
      device: "cpu",
    })) as DiffusionPipeline & {
      run(options: object): Promise<{ images: Tensor }>;
    };
    const options = { ...(await make()), outputType: "tensor" };
    const runs = [2, 3, 4].map((numInferenceSteps, seed) => ({ ...options, seed, numInferenceSteps }));
    const alone: Tensor[] = [];
    for (const each of runs) alone.push((await pipe.run(each)).images);
    const passes: JointPassInfo[] = [];
    pipe.enableStepBatching({ onPass: (pass) => passes.push(pass) });
    const together = await Promise.all(runs.map((each) => pipe.run(each)));
    expect(passes.some(({ runs: count }) => count === 3)).toBe(true);
    for (const [i, { images }] of together.entries()) expect(await apart(images, alone[i]!)).toBeLessThan(most);
  });
});

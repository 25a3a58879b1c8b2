import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadImage, RgbImage } from "../../lib/images/index.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import type { StepProgress } from "../../lib/pipelines/run-options.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionLatentUpscalePipeline } from "../../lib/pipelines/upscale/stable_diffusion_latent_upscale.js";
import { StableDiffusionUpscalePipeline } from "../../lib/pipelines/upscale/stable_diffusion_upscale.js";
import { inTiles, tileStarts } from "../../lib/pipelines/upscale/tiles.js";
import { DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler } from "../../lib/schedulers/index.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { writeSingleFile } from "../single-file/make.js";

const onCpu = { device: "cpu" };
const prompt = "a fantasy landscape";
const twiceFolder = fixture("latent-upscale", "model");
const fourTimesFolder = fixture("upscale-x4", "model");
const picture = fixture("latent-upscale", "image0.png");
const smallPicture = fixture("upscale-x4", "image0.png");
const call = { prompt, numInferenceSteps: 2, seed: 3 };

let twice: StableDiffusionLatentUpscalePipeline;
let fourTimes: StableDiffusionUpscalePipeline;
let folder: string;
/** What both have. */
type Upscaler = Pick<StableDiffusionLatentUpscalePipeline, "run">;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-upscale-"));
  twice = await StableDiffusionLatentUpscalePipeline.fromPretrained(twiceFolder, onCpu);
  fourTimes = await StableDiffusionUpscalePipeline.fromPretrained(fourTimesFolder, onCpu);
});
afterAll(() => {
  twice.dispose();
  fourTimes.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const refuses = (work: Promise<unknown>, code: string, message: RegExp) =>
  expect(work).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
/** An image of stripes. */
const stripes = (width: number, height: number) =>
  new RgbImage(
    width,
    height,
    Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7 + (i >> 4) * 3) % 256),
  );

describe("loading, sharing and saving", () => {
  test("a folder's class is picked, and saved with all components and settings", async () => {
    for (const [from, pipe] of [
      [twiceFolder, twice],
      [fourTimesFolder, fourTimes],
    ] as const) {
      using loaded = await DiffusionPipeline.fromPretrained(from, onCpu);
      expect(loaded).toBeInstanceOf(pipe.constructor);
      const copy = join(folder, pipe.className);
      await loaded.savePretrained(copy);
      const { _diffusers_version: _before, ...before } = readJson<Record<string, unknown>>(
        join(from, "model_index.json"),
      );
      const { _diffusers_version: _after, ...after } = readJson<Record<string, unknown>>(
        join(copy, "model_index.json"),
      );
      expect(after).toEqual(before);
      using again = await DiffusionPipeline.fromPretrained(copy, onCpu);
      expect(again.components).toMatchObject({ vae: {}, textEncoder: {}, tokenizer: {}, unet: {}, scheduler: {} });
    }
    expect(fourTimes.maxNoiseLevel).toBe(100);
    expect(fourTimes.components.lowResScheduler).toBe(fourTimes.lowResScheduler);
  });

  test("the ×4 upscaler's scaling factor is forced, whatever its file says", async () => {
    const copy = join(folder, "other-factor");
    cpSync(fourTimesFolder, copy, { recursive: true });
    const file = join(copy, "vae", "config.json");
    writeFileSync(file, JSON.stringify({ ...readJson<object>(file), scaling_factor: 0.18215 }));
    using pipe = await StableDiffusionUpscalePipeline.fromPretrained(copy, onCpu);
    expect(pipe.vae.config.scaling_factor).toBe(0.08333);
    const options = { ...call, image: smallPicture, outputType: "tensor" } as const;
    const [{ images }, { images: expected }] = [await pipe.run(options), await fourTimes.run(options)];
    expect(await images.equal(expected)).toBe(true);
  });

  test("fromPipe shares all components, and asks for those that are missing", async () => {
    using shared = StableDiffusionUpscalePipeline.fromPipe(fourTimes);
    expect(shared.components).toEqual(fourTimes.components);
    expect(shared.maxNoiseLevel).toBe(100);
    expect(() => StableDiffusionUpscalePipeline.fromPipe(twice)).toThrow(/lowResScheduler/);
  });

  test("a single file needs the second scheduler beside it", async () => {
    const file = await writeSingleFile(join(folder, "model.safetensors"), "ip2p-tiny");
    const load = StableDiffusionUpscalePipeline.fromSingleFile(file, onCpu);
    await refuses(load, "ERR_CONFIG", /needs lowResScheduler, which a single file does not hold/);
  });

  test("a model of another kind is refused, saying what it is for", async () => {
    for (const [from, why] of [
      [twiceFolder, /×2 latent upscaler, for StableDiffusionLatentUpscalePipeline/],
      [fourTimesFolder, /×4 upscaler, for StableDiffusionUpscalePipeline/],
    ] as const) {
      await refuses(StableDiffusionPipeline.fromPretrained(from, onCpu), "ERR_CONFIG", why);
      await refuses(InstructPix2PixPipeline.fromPretrained(from, onCpu), "ERR_CONFIG", why);
    }
    await refuses(
      StableDiffusionLatentUpscalePipeline.fromPretrained(fourTimesFolder, onCpu),
      "ERR_CONFIG",
      /×4 upscaler, for StableDiffusionUpscalePipeline/,
    );
    await refuses(
      StableDiffusionLatentUpscalePipeline.fromPretrained(fixture("ip2p-tiny", "model"), onCpu),
      "ERR_CONFIG",
      /InstructPix2Pix model/,
    );
  });
});

describe("bad input", () => {
  const run4 = (options: object) => fourTimes.run({ ...call, image: smallPicture, ...options } as never);
  const run2 = (options: object) => twice.run({ ...call, image: picture, ...options } as never);

  test("noise levels", async () => {
    await refuses(run4({ noiseLevel: 101 }), "ERR_INVALID_ARGUMENT", /noiseLevel.*0\.\.100, not 101/);
    for (const noiseLevel of [-1, 2.5, Number.NaN, "20"])
      await refuses(run4({ noiseLevel }), "ERR_INVALID_ARGUMENT", /noiseLevel/);
    await refuses(run2({ noiseLevel: 20 }), "ERR_INVALID_ARGUMENT", /noiseLevel/);
  });

  test("latents for the ×4 upscaler, and latents of a size that the ×2 upscaler's UNet does not take", async () => {
    const latents = await Tensor.zeros([1, 4, 8, 8]);
    await refuses(run4({ image: latents }), "ERR_INVALID_ARGUMENT", /latents.*outputType "image" or "tensor"/);
    for (const [height, width] of [
      [5, 8],
      [2, 8],
    ])
      await refuses(
        run2({ image: await Tensor.zeros([1, 4, height!, width!]) }),
        "ERR_INVALID_ARGUMENT",
        /multiples of 2 of at least 4/,
      );
    await refuses(run2({ image: latents, latents }), "ERR_INVALID_ARGUMENT", /latents must be \[1,4,16,16\]/);
    await refuses(run2({ image: stripes(31, 64) }), "ERR_IMAGE", /31×64|16×64/);
  });

  test("pooled embeddings without the others, and of another width", async () => {
    const promptEmbeds = await Tensor.zeros([1, 77, 24]);
    const given = { prompt: null, promptEmbeds };
    await refuses(run2(given), "ERR_INVALID_ARGUMENT", /promptEmbeds and pooledPromptEmbeds together/);
    const pooledPromptEmbeds = await Tensor.zeros([1, 23]);
    await refuses(run2({ ...given, pooledPromptEmbeds }), "ERR_INVALID_ARGUMENT", /pooledPromptEmbeds.*\[1,24\]/);
  });

  test("schedulers without noise levels, tiles that are none, options of the other upscaler", async () => {
    using other = StableDiffusionLatentUpscalePipeline.fromPipe(twice);
    other.scheduler = new DDIMScheduler();
    await refuses(other.run({ ...call, image: picture }), "ERR_CONFIG", /noise levels.*EulerDiscreteScheduler/);
    for (const tile of [0, 7, 12.5, "8"]) await refuses(run4({ tile }), "ERR_INVALID_ARGUMENT", /tile must be/);
    await refuses(run4({ tile: 8, tileOverlap: 4 }), "ERR_INVALID_ARGUMENT", /tileOverlap.*less than half/);
    await refuses(run4({ tileOverlap: 2 }), "ERR_INVALID_ARGUMENT", /give tile too/);
    await refuses(run2({ tile: 40 }), "ERR_INVALID_ARGUMENT", /multiple of 16 of at least 32/);
    await refuses(run2({ numImagesPerPrompt: 2 }), "ERR_INVALID_ARGUMENT", /numImagesPerPrompt/);
  });

  test("configurations of K blocks that do not fit together", async () => {
    const config = readJson<object>(join(twiceFolder, "unet", "config.json"));
    const create = (changes: object) => UNet2DConditionModel.fromConfig({ ...config, ...changes });
    await refuses(
      create({ norm_num_groups: null, up_block_types: ["UpBlock2D", "UpBlock2D", "UpBlock2D"] }),
      "ERR_CONFIG",
      /up_block_types/,
    );
    await refuses(create({ block_out_channels: [32, 64, 32] }), "ERR_CONFIG", /block_out_channels/);
    await refuses(create({ block_out_channels: [16, 32, 32] }), "ERR_CONFIG", /at least 32 channels/);
    await refuses(create({ time_embedding_dim: 63 }), "ERR_CONFIG", /even number/);
    await refuses(UNet2DConditionModel.fromConfig({ norm_num_groups: null }), "ERR_CONFIG", /norm_num_groups/);
    using unet = await create({});
    const text = await Tensor.zeros([1, 2, 24]);
    await refuses(unet.forward(await Tensor.zeros([1, 8, 6, 8]), 1, text), "ERR_INVALID_ARGUMENT", /multiples of 4/);
    await refuses(unet.forward(await Tensor.zeros([1, 8, 4, 8]), 1, text), "ERR_INVALID_ARGUMENT", /too small/);
  });
});

describe("what diffusers does not have", () => {
  test("an image may go with several prompts, and generators draw for one result each", async () => {
    const generator = () => [new Generator("cpu", 1), new Generator("cpu", 2)];
    const options = {
      ...call,
      seed: undefined,
      prompt: [prompt, "rain"],
      image: picture,
      outputType: "latent",
    } as const;
    const { images } = await twice.run({ ...options, generator: generator() });
    expect(images.shape).toEqual([2, 4, 8, 12]);
    const { images: second } = await twice.run({ ...options, prompt: "rain", generator: new Generator("cpu", 2) });
    expect((await deviation(await images.slice(0, 1, 2), second)).relative).toBeLessThan(1e-4);
  });

  test("other samplers with noise levels, unguided parts, and deep features of an earlier step", async () => {
    using other = StableDiffusionLatentUpscalePipeline.fromPipe(twice);
    for (const scheduler of [
      DPMSolverMultistepScheduler.fromConfig(twice.scheduler.config),
      EulerDiscreteScheduler.fromConfig(twice.scheduler.config, { use_karras_sigmas: true }),
    ]) {
      other.scheduler = scheduler;
      const options = {
        ...call,
        numInferenceSteps: 3,
        image: picture,
        guidanceInterval: [0, 0.5],
        deepCacheInterval: 2,
      };
      expect((await other.run(options as never)).images[0]).toMatchObject({ width: 96, height: 64 });
    }
  });
});

describe("tiles", () => {
  test("cover an edge evenly with at least the overlap", () => {
    expect(tileStarts(8, { size: 8, overlap: 2 })).toEqual([0]);
    for (const [length, size, overlap] of [
      [9, 8, 2],
      [100, 16, 4],
      [33, 16, 0],
      [17, 16, 7],
    ] as const) {
      const starts = tileStarts(length, { size, overlap });
      expect([starts[0], starts.at(-1)]).toEqual([0, length - size]);
      for (const [i, start] of starts.slice(1).entries()) {
        expect(start - starts[i]!).toBeGreaterThan(0);
        expect(start - starts[i]!).toBeLessThanOrEqual(size - overlap);
      }
    }
  });

  test("of one function of the place join without a trace", async () => {
    const [height, width] = [23, 37];
    const value = (y: number, x: number) => Math.sin(y / 3) + x / 10;
    const whole = Tensor.from(
      Float32Array.from({ length: 4 * height * width }, (_, i) => value(Math.floor(i / (2 * width)), i % (2 * width))),
      [1, 1, 2 * height, 2 * width],
    );
    const joined = await inTiles({ height, width }, { size: 10, overlap: 3 }, 2, async (area) => {
      const rows = await whole.slice(2, 2 * area.top, 2 * (area.top + area.height));
      return await rows.slice(3, 2 * area.left, 2 * (area.left + area.width));
    });
    expect((await deviation(joined, whole)).absolute).toBeLessThan(1e-5);
  });

  test("fade into each other", async () => {
    const joined = await inTiles({ height: 1, width: 12 }, { size: 8, overlap: 4 }, 1, (_, tile) =>
      Tensor.full([1, 1, 1, 8], tile),
    );
    const values = Array.from(await joined.toArray(), Number);
    expect(values).toEqual([0, 0, 0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1]);
  });

  test("an image that is no larger than a tile is as without tiles, bit for bit", async () => {
    const options = { ...call, outputType: "tensor" } as const;
    for (const [pipe, image] of [
      [twice, picture],
      [fourTimes, smallPicture],
    ] as [Upscaler, string][]) {
      const { images } = await pipe.run({ ...options, image, tile: 96 });
      expect(await images.equal((await pipe.run({ ...options, image })).images)).toBe(true);
    }
  });

  test.each([
    { name: "×2", scale: 2, tile: 32, size: [80, 48] as const, tiles: 6 },
    { name: "×4", scale: 4, tile: 16, size: [36, 20] as const, tiles: 6 },
  ])("$name: every tile has all steps, and the result its size", async ({ scale, tile, size, tiles }) => {
    const pipe: Upscaler = scale === 2 ? twice : (fourTimes as Upscaler);
    const seen: Pick<StepProgress, "tile" | "tiles" | "step" | "totalSteps">[] = [];
    const onStep = ({ tile, tiles, step, totalSteps }: StepProgress) =>
      void seen.push({ tile: tile!, tiles: tiles!, step, totalSteps });
    const { images } = await pipe.run({ ...call, image: stripes(size[0], size[1]), tile, onStep });
    expect(images[0]).toMatchObject({ width: scale * size[0], height: scale * size[1] });
    expect(seen).toEqual(
      Array.from({ length: 2 * tiles }, (_, i) => ({ tile: i >> 1, tiles, step: i % 2, totalSteps: 2 })),
    );
    const latents = await pipe.run({ ...call, image: stripes(size[0], size[1]), tile, outputType: "latent" });
    const factor = scale === 2 ? 8 : 1;
    expect(latents.images.shape).toEqual([
      1,
      4,
      ((scale === 2 ? 2 : 1) * size[1]) / factor,
      ((scale === 2 ? 2 : 1) * size[0]) / factor,
    ]);
  });

  test("leave no seam where they overlap, and one where they do not", async () => {
    const image = new RgbImage(
      64,
      32,
      new Uint8Array(64 * 32 * 3).map((_, i) => 128 + 90 * Math.sin(i / 29)),
    );
    const half = 64;
    /** How much the columns on both sides of the middle differ. */
    const jump = async (tiles: object): Promise<number> => {
      const options = { ...call, numInferenceSteps: 3, outputType: "tensor" } as const;
      const { images } = await twice.run({ ...options, image, ...tiles });
      const columns = await Promise.all([half - 1, half].map((x) => images.slice(3, x, x + 1)));
      const [left, right] = await Promise.all(columns.map((column) => column.toArray()));
      return [...left!].reduce<number>((sum, value, i) => sum + Math.abs(Number(value) - Number(right![i])), 0);
    };
    const whole = await jump({});
    expect(await jump({ tile: 32, tileOverlap: 0 })).toBeGreaterThan(2 * whole);
    expect(await jump({ tile: 32, tileOverlap: 8 })).toBeLessThan(1.3 * whole);
  });

  test("are of the size that the model was trained for unless another is given", async () => {
    const tiles = new Set<number | undefined>();
    const onStep = (progress: StepProgress) => void tiles.add(progress.tiles);
    // sample_size 16 of the ×4 upscaler; 12 latents at twice the size, 48 pixels, of the ×2 upscaler.
    await fourTimes.run({ ...call, image: stripes(32, 16), tile: true, tileOverlap: 0, onStep });
    await twice.run({ ...call, image: stripes(96, 48), tile: true, tileOverlap: 0, onStep });
    expect([...tiles]).toEqual([2]);
  });
});

test("the guide's chain: latents of Stable Diffusion, twice as large, then four times", async () => {
  using textToImage = await StableDiffusionPipeline.fromPretrained(fixture("text2img", "model"), onCpu);
  const { images: latents } = await textToImage.run({ ...call, height: 64, width: 64, outputType: "latent" });
  const { images: larger } = await twice.run({ ...call, image: latents, guidanceScale: 0, outputType: "tensor" });
  expect(larger.shape).toEqual([1, 3, 128, 128]);
  const small = await larger.slice(2, 0, 16);
  const { images } = await fourTimes.run({ ...call, image: await small.slice(3, 0, 16) });
  expect(images[0]).toMatchObject({ width: 64, height: 64 });
  expect((await loadImage(images[0]!)).width).toBe(64);
});

import { cpSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { upscaleCommand } from "../../lib/cli/upscale.js";
import { loadImage } from "../../lib/images/index.js";
import { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import type { StableDiffusionLatentUpscalePipeline } from "../../lib/pipelines/upscale/stable_diffusion_latent_upscale.js";
import { fixture } from "../helpers/fixtures.js";
import { ip2p, Workplace } from "./run-cli.js";

const MODELS = { 2: fixture("latent-upscale", "model"), 4: fixture("upscale-x4", "model") };
const PICTURES = { 2: fixture("latent-upscale", "image0.png"), 4: fixture("upscale-x4", "image0.png") };
const prompt = "a fantasy landscape";
/** What both have. */
type Upscaler = DiffusionPipeline & Pick<StableDiffusionLatentUpscalePipeline, "run">;

/** Arguments of a quick run that works; later ones take precedence. */
function upscaleArguments(scale: 2 | 4, ...more: string[]): string[] {
  return [
    ...[
      "upscale",
      "--scale",
      String(scale),
      "--model",
      MODELS[scale],
      "--image",
      PICTURES[scale],
      "--output",
      "out.png",
    ],
    ...["--num_inference_steps", "2", "--num_threads", "1", "--device", "cpu", "--seed", "5", ...more],
  ];
}

const failing = async (args: string[]) => {
  using place = new Workplace();
  const { status, stderr } = await ip2p(args, { cwd: place.folder });
  return { status, stderr };
};

describe("ip2p upscale", () => {
  it("writes what the pipelines give", async () => {
    using place = new Workplace();
    const shared = { prompt, numInferenceSteps: 2, seed: 5 };
    for (const scale of [2, 4] as const) {
      const outcome = await ip2p(upscaleArguments(scale, "--prompt", prompt), { cwd: place.folder });
      expect(outcome).toMatchObject({ status: 0, stderr: "" });
      using pipe = (await DiffusionPipeline.fromPretrained(MODELS[scale], { device: "cpu" })) as Upscaler;
      const { images } = await pipe.run({ ...shared, image: PICTURES[scale] });
      const written = await loadImage(place.at("out.png"));
      expect(written.data).toEqual(images[0]!.data);
      expect(outcome.stdout).toContain(`out.png: ${written.width}×${written.height}, seed 5, 2 steps`);
    }
  });

  it("reports tiles as JSON and as lines, and takes their size", async () => {
    using place = new Workplace();
    const tiles = ["--tile", "--tile_size", "12", "--tile_overlap", "4", "--noise_level", "0"];
    const { status, stdout } = await ip2p(upscaleArguments(4, ...tiles, "--json"), { cwd: place.folder });
    expect(status).toBe(0);
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const steps = events.filter(({ event }) => event === "step");
    // 16 × 20 pixels.
    expect(steps.map(({ tile, step }) => [tile, step])).toEqual(
      [1, 1, 2, 2, 3, 3, 4, 4].map((tile, i) => [tile, i + 1]),
    );
    expect(steps[0]).toMatchObject({ tiles: 4, total_steps: 8 });
    expect(events.at(-1)).toMatchObject({
      event: "done",
      pipeline: "StableDiffusionUpscalePipeline",
      width: 64,
      height: 80,
    });
    expect(events.at(-1)).toHaveProperty("upscale_seconds");
    const lines = await ip2p(upscaleArguments(4, ...tiles), { cwd: place.folder });
    expect(lines.stdout).toMatch(/^tile 2 of 4, step 3 of 8/m);
  });

  it("refuses other scales, and options of the other scale", () => {
    const io = { stdout: process.stdout, stderr: process.stderr, env: {} };
    const refuses = (problem: string, ...args: Parameters<typeof upscaleArguments>) =>
      expect(() => upscaleCommand.execute(upscaleArguments(...args).slice(1), io)).toThrow(
        expect.objectContaining({ code: "ERR_USAGE", message: expect.stringContaining(problem) }),
      );
    refuses('--scale takes one of 2, 4, not "3"', 2, "--scale", "3");
    for (const option of [
      "noise_level=20",
      "clip_skip=1",
      "prompt_weighting=compel",
      "num_images_per_prompt=2",
      "eta=1",
    ])
      refuses(`--${option.split("=")[0]} is for --scale 4`, 2, `--${option}`);
    refuses("--tile_size is for tiles: give --tile too", 4, "--tile_size=16");
  });

  it("refuses a model that does not fit the scale, and says what to use", async () => {
    const advice = { 2: MODELS[4], 4: MODELS[2] };
    for (const scale of [2, 4] as const)
      expect(await failing(upscaleArguments(scale, "--model", advice[scale]))).toMatchObject({
        status: 1,
        stderr: expect.stringContaining(`: give --scale ${scale === 2 ? 4 : 2}`),
      });
    expect(await failing(upscaleArguments(4, "--model", fixture("text2img", "model")))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("names a StableDiffusionPipeline, which --scale 4 is not for"),
    });
    expect(await failing(upscaleArguments(4, "--model", PICTURES[4]))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("model must be a folder or a repository, not a file"),
    });
  });

  it("refuses images, noise levels, tiles and schedulers that the model does not take before its weights are read", async () => {
    using place = new Workplace();
    for (const scale of [2, 4] as const) {
      cpSync(MODELS[scale], place.at(`model${scale}`), {
        recursive: true,
        filter: (path) => !path.endsWith(".safetensors"),
      });
    }
    const fails = async (scale: 2 | 4, ...more: string[]) =>
      (await ip2p(upscaleArguments(scale, "--model", `model${scale}`, ...more), { cwd: place.folder })).stderr;
    expect(await fails(4, "--noise_level", "101")).toContain("--noise_level must be a whole number in 0..100, not 101");
    expect(await fails(4, "--tile", "--tile_size", "4")).toMatch(/tile/);
    expect(await fails(2, "--tile", "--tile_size", "40")).toMatch(/multiple of 16 of at least 32/);
    expect(await fails(2, "--scheduler", "DDIMScheduler")).toContain("noise levels");
    expect(await fails(2, "--image", PICTURES[4])).toMatch(/too small/);
    expect(await fails(4)).toMatch(/safetensors|weights/);
  });
});

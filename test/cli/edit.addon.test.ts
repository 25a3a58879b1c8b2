import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { loadImage, RgbImage, transferEdit } from "../../lib/images/index.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { fixture } from "../helpers/fixtures.js";
import { writeSingleFile } from "../single-file/make.js";
import { editArguments, ip2p, ip2pHere, tinyImage, tinyModel, Workplace } from "./run-cli.js";

/** diffusers' images of a recorded run, as the 8-bit pixels it saves. */
async function recordedPictures(run: number): Promise<RgbImage[]> {
  const tensors = await loadSafetensors(fixture("ip2p-tiny", "expected.safetensors"));
  const images = tensors[`run${run}.images`]!;
  const [count, , height, width] = images.shape as [number, number, number, number];
  const values = (await images.toArray()) as Float32Array;
  return Array.from({ length: count }, (_, n) => {
    const data = new Uint8Array(width * height * 3);
    for (let c = 0; c < 3; c++)
      for (let i = 0; i < width * height; i++)
        data[3 * i + c] = Math.round(values[(3 * n + c) * width * height + i]! * 255);
    return new RgbImage(width, height, data);
  });
}

function largestDifference(a: RgbImage, b: RgbImage): number {
  expect([a.width, a.height]).toEqual([b.width, b.height]);
  return a.data.reduce((most, value, i) => Math.max(most, Math.abs(value - b.data[i]!)), 0);
}

describe("ip2p edit", () => {
  it("writes the images that diffusers makes of the same command", async () => {
    using place = new Workplace();
    const outcome = await ip2p(
      editArguments(
        ...["--scheduler", "EulerAncestralDiscreteScheduler", "--num-inference-steps", "4", "--seed=3"],
        ...["--negative_prompt", "blurry", "--num_images_per_prompt", "2"],
      ),
      { cwd: place.folder },
    );
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    expect(outcome.stdout.trim().split("\n").at(-1)).toMatch(
      /^out-1\.png, out-2\.png: 40×56, seed 3, 4 steps in [\d.]+ s, [\d.]+ (steps\/s|s\/step)$/,
    );
    expect(place.list()).toEqual(["out-1.png", "out-2.png"]);
    const expected = await recordedPictures(7);
    for (const [i, name] of ["out-1.png", "out-2.png"].entries())
      expect(largestDifference(await loadImage(place.at(name)), expected[i]!)).toBeLessThanOrEqual(1);
  });

  it("gives results the image's own size with --keep_resolution, and leaves those that have it", async () => {
    using place = new Workplace();
    const large = await (await loadImage(tinyImage)).resize(200, 280);
    await large.save(place.at("photo.png"));
    const args = ["--seed=3", "--num_inference_steps=2", "--quiet", "--keep_resolution"];
    const run = (...more: string[]) => ip2p(editArguments(...args, ...more), { cwd: place.folder });
    const reduced = ["--image", "photo.png", "--max_size=56"];
    expect(await run(...reduced, "--output=kept.png")).toMatchObject({ status: 0, stderr: "" });
    expect(await run(...reduced, "--output=small.png", "--no-keep_resolution")).toMatchObject({ status: 0 });
    const [kept, small] = await Promise.all(["kept.png", "small.png"].map((name) => loadImage(place.at(name))));
    expect([small!.width, small!.height]).toEqual([40, 56]);
    expect(largestDifference(kept!, await transferEdit(large, small!))).toBe(0);

    expect(await run("--output=same.png")).toMatchObject({ status: 0 });
    expect(await run("--output=plain.png", "--no-keep_resolution")).toMatchObject({ status: 0 });
    expect(readFileSync(place.at("same.png")).equals(readFileSync(place.at("plain.png")))).toBe(true);
  });

  it("writes before and after side by side, in the format of the extension, over its own input", async () => {
    using place = new Workplace();
    const before = await loadImage(tinyImage);
    await before.save(place.at("photo.webp"), { lossless: true });
    const { status, stderr } = await ip2p(
      editArguments(
        "--image",
        "photo.webp",
        "--output",
        "photo.webp",
        "--grid",
        "--num_images_per_prompt=2",
        "--quiet",
      ),
      { cwd: place.folder },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(place.list()).toEqual(["photo.webp"]);
    const grid = await loadImage(place.at("photo.webp"));
    expect([grid.width, grid.height]).toEqual([3 * before.width, before.height]);
    const left = new RgbImage(before.width, before.height, columns(grid, 0, before.width));
    // WebP is lossy, but not so much that another image would pass.
    expect(meanDifference(left, before)).toBeLessThan(6);
    const right = new RgbImage(before.width, before.height, columns(grid, before.width, before.width));
    expect(meanDifference(right, before)).toBeGreaterThan(12);
  });

  it("bounds memory with the same result, except for tiling, which equals the API's", async () => {
    using place = new Workplace();
    const edit = async (output: string, ...more: string[]) => {
      const given = ["--output", output, "--num_images_per_prompt=2", "--seed=1", "--quiet", "--device=cpu"];
      const outcome = await ip2pHere(editArguments(...given, ...more), { cwd: place.folder });
      expect(outcome).toMatchObject({ status: 0, stderr: "" });
      return Promise.all([1, 2].map((i) => loadImage(place.at(output.replace(".", `-${i}.`)))));
    };
    const plain = await edit("a.png");
    const bounded = await edit(
      "b.png",
      ...["--vae_slicing", "--enable_model_cpu_offload", "--deterministic", "--allow_tf32"],
    );
    for (const [i, picture] of bounded.entries()) expect(largestDifference(picture, plain[i]!)).toBeLessThanOrEqual(1);
    // The image has 40×56 pixels, the tiles of this autoencoder 32×32.
    const [tiled] = await edit("c.png", "--vae_tiling");
    expect(largestDifference(tiled!, plain[0]!)).toBeGreaterThan(1);
    using pipeline = await InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" });
    pipeline.vae.enableTiling();
    const { images } = await pipeline.run({
      ...{ image: tinyImage, prompt: "make it a snowy day", seed: 1, numInferenceSteps: 2, numImagesPerPrompt: 2 },
    });
    expect(largestDifference(tiled!, images[0]!)).toBeLessThanOrEqual(1);
  });

  it("says that there is nothing to offload from the CPU", async () => {
    using place = new Workplace();
    const { status, stderr } = await ip2p(editArguments("--device=cpu", "--enable_model_cpu_offload"), {
      cwd: place.folder,
    });
    expect(status).toBe(0);
    expect(stderr).toBe("ip2p: warning: --enable_model_cpu_offload has no effect on the CPU\n");
  });

  it("reports everything in JSON lines", async () => {
    using place = new Workplace();
    const seed = "18446744073709551615";
    const { status, stdout, stderr } = await ip2p(
      editArguments("--json", "--seed", seed, "--verbose", "--scheduler=HeunDiscreteScheduler"),
      { cwd: place.folder },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ event }) => event)).toEqual([
      ...["loading", ...Array<string>(4).fill("stage"), "loaded", "stage", "stage"],
      ...["step", "step", "step", "stage", "stage", "done"],
    ]);
    const stages = events.filter(({ event }) => event === "stage").map(({ stage, fraction }) => [stage, fraction]);
    expect(stages.map(([stage]) => stage)).toEqual([
      ...[...Array<string>(4).fill("load"), "encode", "denoise", "decode", "decode"],
    ]);
    expect([stages[0], stages[3], ...stages.slice(4)]).toEqual([
      ...[
        ["load", 0],
        ["load", 1],
        ["encode", null],
        ["denoise", 0],
        ["decode", null],
        ["decode", 1],
      ],
    ]);
    const number = expect.any(Number);
    expect(events[5]).toEqual({ event: "loaded", seconds: number, num_inference_steps: expect.any(Number) });
    expect(events[8]).toEqual({ event: "step", step: 1, total_steps: 3, timestep: number, steps_per_second: null });
    expect(events[10]).toEqual({ event: "step", step: 3, total_steps: 3, timestep: number, steps_per_second: number });
    expect(events.at(-1)).toEqual({
      event: "done",
      outputs: ["out.png"],
      pipeline: "StableDiffusionInstructPix2PixPipeline",
      width: 40,
      height: 56,
      seed,
      scheduler: "HeunDiscreteScheduler",
      device: "cpu",
      dtype: "float32",
      steps: 3,
      steps_per_second: number,
      load_seconds: number,
      edit_seconds: number,
      total_seconds: number,
      peak_memory_bytes: number,
    });
    expect(events.at(-1)!.peak_memory_bytes).toBeGreaterThan(50e6);
  });

  it("reports a failure as the last JSON line", async () => {
    using place = new Workplace();
    const { status, stdout, stderr } = await ip2p(editArguments("--json", "--quiet", "--image", "absent.png"), {
      cwd: place.folder,
    });
    expect(status).toBe(1);
    const message = 'the image "absent.png" does not exist';
    expect(JSON.parse(stdout)).toEqual({ event: "error", code: "ERR_FILE_NOT_FOUND", message });
    expect(stderr).toBe(`ip2p: ${message}\n`);
  });

  it("edits with a model in one file as with its folder", async () => {
    using place = new Workplace();
    await writeSingleFile(place.at("model.safetensors"), "ip2p-tiny");
    const run = (...more: string[]) => ip2pHere(editArguments(...more), { cwd: place.folder });
    const file = ["--model", "model.safetensors"];
    expect(await run(...file, "--config", tinyModel)).toMatchObject({ status: 0, stderr: "" });
    expect(await run("--output", "folder.png")).toMatchObject({ status: 0 });
    expect(readFileSync(place.at("out.png")).equals(readFileSync(place.at("folder.png")))).toBe(true);
    // Of a tiny model the configuration does not show in the file.
    expect(await run(...file)).toMatchObject({ status: 1, stderr: expect.stringMatching(/pass the option config/) });
    const variant = await run(...file, "--config", tinyModel, "--variant", "fp16");
    expect(variant).toMatchObject({ status: 1, stderr: expect.stringMatching(/the model is a file/) });
    const needless = await run("--config", tinyModel);
    expect(needless).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/config is for a model in a single file/),
    });
  });

  it("names what it ignores: unknown keys, and components that editing does not need", async () => {
    using place = new Workplace();
    const model = place.copyOfModel();
    const change = (file: string, entries: object) => {
      const path = join(model, file);
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...entries }));
    };
    change("vae/config.json", { a_key_of_tomorrow: 1 });
    change("model_index.json", { safety_checker: ["stable_diffusion", "StableDiffusionSafetyChecker"] });
    const { status, stdout, stderr } = await ip2p(editArguments("--model", "model", "--verbose"), {
      cwd: place.folder,
    });
    expect(stderr).toBe(
      'ip2p: warning: model/vae/config.json: unknown configuration key "a_key_of_tomorrow" is ignored\n',
    );
    expect(status).toBe(0);
    expect(stdout).toContain("safety_checker (StableDiffusionSafetyChecker) is not loaded\n");
  });

  it("takes the image from a URL, private addresses included", async () => {
    using place = new Workplace();
    const server = createServer((_, response) => response.end(readFileSync(tinyImage)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/picture`;
      const outcome = await ip2p(editArguments("--image", url, "--no_progress", "--dtype", "bfloat16"), {
        cwd: place.folder,
        env: { http_proxy: "", HTTP_PROXY: "", no_proxy: "127.0.0.1" },
      });
      expect(outcome).toMatchObject({ status: 0, stderr: "" });
      expect(outcome.stdout.split("\n")).toHaveLength(2);
    } finally {
      server.close();
    }
  });

  it.each(["SIGINT", "SIGTERM"] as const)("ends cleanly at %s", async (signal) => {
    using place = new Workplace();
    writeFileSync(place.at("out.png"), "what was there before");
    let sent = false;
    const outcome = await ip2p(editArguments("--num_inference_steps", "1000", "--json"), {
      cwd: place.folder,
      onOutput: (stdout, child) => {
        if (sent || !stdout.includes('"step":3,')) return;
        sent = true;
        child.kill(signal);
      },
    });
    expect(outcome).toMatchObject({ status: signal === "SIGINT" ? 130 : 143, stderr: `ip2p: cancelled (${signal})\n` });
    expect(JSON.parse(outcome.stdout.trim().split("\n").at(-1)!)).toMatchObject({
      event: "error",
      code: "ERR_ABORTED",
    });
    expect(place.list()).toEqual(["out.png"]);
    expect(readFileSync(place.at("out.png"), "utf8")).toBe("what was there before");
  });
});

function columns({ width, height, data }: RgbImage, from: number, count: number): Uint8Array {
  const result = new Uint8Array(count * height * 3);
  for (let y = 0; y < height; y++)
    result.set(data.subarray((y * width + from) * 3, (y * width + from + count) * 3), y * count * 3);
  return result;
}

function meanDifference(a: RgbImage, b: RgbImage): number {
  return a.data.reduce((sum, value, i) => sum + Math.abs(value - b.data[i]!), 0) / a.data.length;
}

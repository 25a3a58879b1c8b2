import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { describeFailure } from "../../lib/cli/failure.js";
import { sizeWithin } from "../../lib/images/resize.js";
import type { AutoencoderKLConfig } from "../../lib/models/autoencoder_kl.js";
import type { UNet2DConditionConfig } from "../../lib/models/unet_2d_condition.js";
import { checkMemory, type MemoryCall } from "../../lib/pipelines/check-memory.js";
import { autoencoderMemory, latentsOf, unetMemory, unetWork } from "../../lib/pipelines/footprint.js";
import { fixture } from "../helpers/fixtures.js";

const configOf = (folder: string) => JSON.parse(readFileSync(fixture("full-size", folder, "config.json"), "utf8"));
const unet = { transformer_layers_per_block: 1, ...configOf("unet") } as UNet2DConditionConfig;
const vae = configOf("vae") as AutoencoderKLConfig;
const square = (edge: number) => ({ width: edge, height: edge });
const MB = 1e6;

describe("what a run of Stable Diffusion's size takes", () => {
  // Peaks of resident memory above what was there before and what the first pass keeps, on a CPU in float32.
  it.each([
    [256, 130],
    [512, 530],
    [768, 1180],
  ])("the autoencoder at %d pixels", (edge, encoding) => {
    const estimate = autoencoderMemory(vae, square(edge), { rows: 1, bytes: 4 }) / MB;
    // Decoding takes a quarter more than encoding.
    expect(estimate).toBeGreaterThan(encoding);
    expect(estimate).toBeLessThan(1.4 * encoding);
  });

  it("the UNet, far less", () => {
    const of = (edge: number, rows: number) => unetMemory(unet, latentsOf(square(edge), vae), { rows, bytes: 4 }) / MB;
    expect(of(512, 1)).toBeGreaterThan(50);
    expect(of(512, 1)).toBeLessThan(100);
    expect(of(512, 3)).toBeCloseTo(3 * of(512, 1), 6);
    expect(of(1024, 1)).toBeCloseTo(4 * of(512, 1), 6);
  });

  it("the time of a step, which grows faster than the pixels", () => {
    const at = (edge: number) => unetWork(unet, latentsOf(square(edge), vae));
    // 339 thousand million, as counted for the published model.
    expect(at(512) / 1e9).toBeGreaterThan(300);
    expect(at(512) / 1e9).toBeLessThan(420);
    expect(at(1024) / at(512)).toBeGreaterThan(4.5);
    expect(at(2048) / at(1024)).toBeGreaterThan(6);
  });
});

describe("memory that is too small", () => {
  const call = (tiling = false): MemoryCall => ({
    unet: { config: unet, dtype: "float32" } as MemoryCall["unet"],
    vae: {
      config: vae,
      dtype: "float32",
      scaleFactor: 8,
      partsOf: ({ width, height, rows }: { width: number; height: number; rows: number }, tiled = tiling) => ({
        part: tiled ? square(512) : { width, height },
        rows,
      }),
    } as unknown as MemoryCall["vae"],
    ...{ rows: [1, 2, 3], count: 1, device: "cpu", outputType: "image" },
  });
  const photo = { width: 4032, height: 3024, encoded: true };
  const refused = async (size: typeof photo, free: number, tiling?: boolean) =>
    await checkMemory(call(tiling), size, async () => free).then(
      () => undefined,
      (error: { code: string; message: string }) => error,
    );

  it("is told before anything is computed, with what helps", async () => {
    const error = await refused(photo, 20e9);
    expect(error?.code).toBe("ERR_OUT_OF_MEMORY");
    expect(error?.message).toMatch(
      /^a run at 4032×3024 pixels needs about 3\d GB of memory beside the weights, but 20 GB are free: give a maxSize, such as 512, for which the model was trained, or use vae\.enableTiling\(\), with which it needs about \d+(\.\d)? GB; a step would take about \d+ times as long as at 512×512$/,
    );
    const declared = { max_size: { type: "string" }, vae_tiling: { type: "boolean" } } as const;
    expect(describeFailure(Object.assign(error!), false, declared as never)).toMatch(
      /give a --max_size, such as 512, .* or use --vae_tiling, with/,
    );
  });

  it("is no matter where it suffices, or where tiles keep it small", async () => {
    expect(await refused(photo, 40e9)).toBeUndefined();
    expect(await refused(photo, 20e9, true)).toBeUndefined();
    expect(await refused({ ...photo, width: 512, height: 384 }, 1e9)).toBeUndefined();
  });

  it("does not count the autoencoder where it has nothing to do", async () => {
    const latent = { ...call(), outputType: "latent" } as const;
    await checkMemory(latent, { ...photo, encoded: false }, async () => 20e9);
    await expect(checkMemory(latent, photo, async () => 20e9)).rejects.toThrow("vae.enableTiling()");
  });
});

it.each([
  [[4032, 3024], 512, 8, [512, 384]],
  [[3024, 4032], 512, 8, [384, 512]],
  [[1000, 999], 512, 64, [512, 512]],
  [[1000, 10], 500, 8, [496, 8]],
  [[4000, 3000], 515, 8, [512, 384]],
  [[300, 211], 512, 8, [296, 208]],
])("%j within %d, in multiples of %d, is %j", ([width, height], maxSize, factor, expected) => {
  expect(Object.values(sizeWithin({ width: width!, height: height! }, maxSize, factor))).toEqual(expected);
});

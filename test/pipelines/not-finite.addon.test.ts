import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { InstructPix2PixError } from "../../lib/core/errors.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import type { EditOptions } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { objectsLeftBehind, quickEdit, tinyModel, tinyPipeline } from "../runtime/tiny.js";

let pipe: InstructPix2PixPipeline;
let folder: string;
beforeAll(async () => {
  pipe = await tinyPipeline();
  folder = mkdtempSync(join(tmpdir(), "ip2p-finite-"));
});
afterAll(() => {
  pipe.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** A tensor of the values between the two, with one element of another value at its end. */
function withOne(shape: readonly number[], value: number): Tensor {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => (i % 7) / 7);
  data[data.length - 1] = value;
  return Tensor.from(data, shape);
}

const failure = (options: Partial<EditOptions>) =>
  pipe.run(quickEdit(options)).then(
    () => expect.unreachable(),
    (error: InstructPix2PixError) => error,
  );

describe("inputs", () => {
  const picture = [1, 3, 32, 32];
  const width = 32;
  test.each<[string, () => Partial<EditOptions>]>([
    ["image", () => ({ image: withOne(picture, Number.NaN) })],
    ["image", () => ({ image: withOne([1, 4, 16, 16], Number.POSITIVE_INFINITY) })],
    ["latents", () => ({ image: withOne(picture, 0.5), latents: withOne([1, 4, 16, 16], Number.NaN) })],
    ["promptEmbeds", () => ({ promptEmbeds: withOne([1, 7, width], Number.NEGATIVE_INFINITY) })],
    ["negativePromptEmbeds", () => ({ negativePromptEmbeds: withOne([1, 77, width], Number.NaN) })],
  ])("%s with NaN or infinity is refused by its name, and passes with allowNonFinite", async (name, options) => {
    const unet = vi.spyOn(pipe.unet, "forward");
    try {
      const { code, message } = await failure(options());
      expect([code, message]).toEqual([
        "ERR_INVALID_ARGUMENT",
        expect.stringContaining(`${name} holds NaN or infinity`),
      ]);
      expect(unet).not.toHaveBeenCalled();
    } finally {
      unet.mockRestore();
    }
    const { images } = await pipe.run({ ...quickEdit(options()), allowNonFinite: true });
    expect(images).toHaveLength(1);
  });

  test.each([
    ["0..255", 255, /divide pixels of 0\.\.255 by 255/],
    ["-2..2", -2, /outside/],
    ["hardly more than rounding", 1.02, /clamp|255/],
  ])("pixels of %s are refused", async (_, value, message) => {
    const image = withOne(picture, value);
    for (const allowNonFinite of [false, true])
      expect(await failure({ image, allowNonFinite })).toMatchObject({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringMatching(message),
      });
  });

  test.each([[[1, 5, 32, 32]], [[32, 32]], [[1, 1, 3, 32, 32]], [[0, 3, 32, 32]]])(
    "an image of shape %j is refused",
    async (shape) => {
      const image = await Tensor.zeros(shape);
      expect(await failure({ image })).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
      expect(await failure({ image: [image, image] })).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
      expect(await failure({ image: [image, "a.png"] as never })).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    },
  );
});

describe("results", () => {
  test("an excessive guidance scale ends the run at its step", async () => {
    const { code, message } = await failure({ guidanceScale: 1e38, numInferenceSteps: 4 });
    expect(code).toBe("ERR_NOT_FINITE");
    expect(message).toMatch(
      /^from step \d of 4 on the latents hold NaN or infinity \(.*float32\); try a guidanceScale below 1e\+38 or an imageGuidanceScale below 1.5$/,
    );
    const { images } = await pipe.run(quickEdit({ guidanceScale: 1e38, allowNonFinite: true }));
    expect(images).toHaveLength(1);
  });

  test("the error names the first step whose latents are not finite, and no tensor remains", async () => {
    const NAN = withOne([1, 4, 16, 16], Number.NaN);
    const image = withOne([1, 3, 32, 32], 0.5);
    const steps: number[] = [];
    const onStep = ({ step }: { step: number }) => {
      steps.push(step);
      return step === 1 ? { latents: NAN } : undefined;
    };
    expect(await failure({ image, numInferenceSteps: 5, onStep })).toMatchObject({
      code: "ERR_NOT_FINITE",
      message: expect.stringMatching(/^from step 2 of 5 on .*: onStep returned them so$/),
    });
    expect(steps).toEqual([0, 1]);
    expect(await objectsLeftBehind(() => failure({ image, numInferenceSteps: 5, onStep }))).toBe(0);
  });

  test.each([
    ["encode", /the latents of the image/],
    ["decode", /decoded/],
  ] as const)("%s of the autoencoder is named", async (method, message) => {
    const NAN = withOne([1, method === "encode" ? 4 : 3, 16, 16], Number.NaN);
    const result = method === "encode" ? { mode: () => NAN.clone(), [Symbol.dispose]() {} } : NAN;
    const spy = vi.spyOn(pipe.vae, method).mockResolvedValue(result as never);
    try {
      const error = await failure({});
      expect(error).toMatchObject({ code: "ERR_NOT_FINITE", message: expect.stringMatching(message) });
    } finally {
      spy.mockRestore();
    }
  });
});

describe("a callback", () => {
  const image = withOne([1, 3, 32, 32], 0.5);
  const returning = (value: unknown) => failure({ image, onStep: () => value as never });
  test("that is not a function is refused before anything is computed", async () => {
    const unet = vi.spyOn(pipe.unet, "forward");
    for (const onStep of [null, 5, {}])
      expect(await failure({ image, onStep: onStep as never })).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    expect(unet).not.toHaveBeenCalled();
    unet.mockRestore();
  });

  test("that returns invalid latents is refused by name", async () => {
    const { latents } = { latents: withOne([1, 4, 16, 16], 0) };
    for (const [value, message] of [
      [latents, /a Tensor; return \{ latents \}/],
      [{ latents: [1] }, /not a Tensor/],
      [{ negativePromptEmbeds: latents }, /"negativePromptEmbeds"; only/],
      [{ promptEmbeds: latents }, /promptEmbeds .*\[1,4,16,16\].*, expected/],
      [{ latents: await latents.to({ dtype: "float64" }) }, /float64.*expected float32/],
      [{ latents: await latents.slice(2, 0, 8) }, /\[1,4,8,16\].*expected float32 \[1,4,16,16\]/],
    ] as const)
      expect(await returning(value)).toMatchObject({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringMatching(message),
      });
  });

  test("may return other values or the same latents, and dispose of latents that it replaced", async () => {
    for (const value of [null, 1, "x", {}, { latents: undefined }, new Date()])
      await pipe.run(quickEdit({ onStep: () => value as never }));
    const plain = await pipe.run({ ...quickEdit(), outputType: "latent" });
    const same = await pipe.run({ ...quickEdit({ onStep: ({ latents }) => ({ latents }) }), outputType: "latent" });
    expect(await same.images.equal(plain.images)).toBe(true);
    const copied = await pipe.run({
      ...quickEdit(),
      outputType: "latent",
      onStep: async ({ latents }) => {
        const copy = await latents.clone();
        latents.dispose();
        return { latents: copy };
      },
    });
    expect(await copied.images.equal(plain.images)).toBe(true);
  });
});

describe("types", () => {
  /** The tiny model with another autoencoder's file. */
  function model(name: string, config: object): string {
    const target = join(folder, name);
    cpSync(tinyModel, target, { recursive: true });
    const path = join(target, "vae", "config.json");
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...config }));
    return target;
  }

  test("in float16 an autoencoder with force_upcast computes in float32 by default", async () => {
    const load = async (
      config: object,
      options: { dtype?: "float16" | "bfloat16"; vaeDtype?: "float16" | "bfloat16" },
    ) => {
      const name = `${JSON.stringify({ config, options })}`.replace(/\W/g, "-");
      using loaded = await InstructPix2PixPipeline.fromPretrained(model(name, config), { device: "cpu", ...options });
      const { images } = await loaded.run({ ...quickEdit(), outputType: "tensor" });
      expect(await images.isFinite()).toBe(true);
      return loaded.vae.dtype;
    };
    expect(await load({ force_upcast: true }, { dtype: "float16" })).toBe("float32");
    expect(await load({ force_upcast: false }, { dtype: "float16" })).toBe("float16");
    expect(await load({}, { dtype: "float16" })).toBe("float16");
    expect(await load({ force_upcast: true }, { dtype: "float16", vaeDtype: "float16" })).toBe("float16");
    expect(await load({ force_upcast: true }, { dtype: "bfloat16" })).toBe("bfloat16");
    expect(await load({ force_upcast: true }, { vaeDtype: "bfloat16" })).toBe("bfloat16");
  });

  test("an autoencoder that overflows in float16 is reported with the remedy", async () => {
    const target = model("overflow", { force_upcast: false });
    const path = join(target, "vae", "diffusion_pytorch_model.safetensors");
    const weights = await loadSafetensors(path);
    // The result itself: with weights in float16, arithmetic may be in float32.
    for (const [key, value] of [
      ["decoder.conv_norm_out.bias", 10_000],
      ["decoder.conv_out.weight", 1],
    ] as const)
      weights[key] = await Tensor.full(weights[key]!.shape, value);
    await saveSafetensors(path, weights);
    using half = await InstructPix2PixPipeline.fromPretrained(target, { device: "cpu", dtype: "float16" });
    await expect(half.run(quickEdit())).rejects.toMatchObject({
      code: "ERR_NOT_FINITE",
      message: expect.stringMatching(/decoded.*the autoencoder computed in float16.*vaeDtype "float32"/),
    });
    half.vae.dispose();
    half.vae = await AutoencoderKL.fromPretrained(join(target, "vae"));
    expect((await half.run(quickEdit())).images).toHaveLength(1);
  });

  test("weights with NaN are refused when they are loaded, and pass with allowNonFinite", async () => {
    const target = model("weights", {});
    const path = join(target, "unet", "diffusion_pytorch_model.safetensors");
    const weights = await loadSafetensors(path);
    weights["conv_in.bias"] = withOne(weights["conv_in.bias"]!.shape, Number.NaN);
    await saveSafetensors(path, weights);
    await expect(InstructPix2PixPipeline.fromPretrained(target, { device: "cpu" })).rejects.toMatchObject({
      code: "ERR_NOT_FINITE",
      message: expect.stringContaining("conv_in.bias"),
    });
    using loaded = await InstructPix2PixPipeline.fromPretrained(target, { device: "cpu", allowNonFinite: true });
    await expect(loaded.run(quickEdit())).rejects.toMatchObject({
      message: expect.stringMatching(/^from step 1 of 2/),
    });
  });
});

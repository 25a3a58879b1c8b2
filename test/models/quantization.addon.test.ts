import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import type { ModelOptions } from "../../lib/models/pretrained.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { native } from "../../lib/runtime/native.js";
import { Trainer } from "../../lib/training/trainer.js";
import { fixture } from "../helpers/fixtures.js";
import { relativeError } from "../kernels/operator.js";
import { temporaryFolder } from "../runtime/libtorch/fixtures.js";

const int8 = { quantization: "int8" } as const;
const tiny = fixture("ip2p-tiny", "model/unet");

const TRAINING = {
  adamBeta1: 0.9,
  adamBeta2: 0.999,
  adamEpsilon: 1e-8,
  adamWeightDecay: 0.01,
  optimizer: "adamw",
  useEma: false,
  gradientCheckpointing: false,
  mixedPrecision: null,
  shadowWeights: false,
} as const;

const FOLDERS = {
  "of Stable Diffusion's blocks": tiny,
  "with linear projections": fixture("parity-configs", "unet-of-linear-projections"),
  "with cross-attention only": fixture("parity-configs", "unet-of-cross-attention-only"),
  "with scaled and shifted time": fixture("parity-configs", "unet-of-scaled-and-shifted-time"),
  "without a middle": fixture("parity-configs", "unet-without-a-middle"),
};

async function forward(unet: UNet2DConditionModel, [height, width]: readonly [number, number]): Promise<Tensor> {
  const generator = new Generator("cpu", 1);
  const { in_channels, cross_attention_dim } = unet.config;
  const wide = Array.isArray(cross_attention_dim) ? cross_attention_dim[0]! : cross_attention_dim;
  const sample = await Tensor.randn([2, in_channels, height, width], { generator });
  const text = await Tensor.randn([2, 5, wide], { generator });
  const result = await unet.forward(sample, 300, text);
  return await result.to({ dtype: "float32" });
}

describe("a UNet with 8-bit weights and activations", () => {
  // Odd sizes enlarge without phases.
  for (const size of [
    [16, 16],
    [15, 10],
  ] as const)
    test.each(Object.entries(FOLDERS))(`computes about the same, %s, at ${size.join("×")}`, async (_, folder) => {
      const exact = await forward(await UNet2DConditionModel.fromPretrained(folder), size);
      for (const dtype of ["float32", "bfloat16"] as const) {
        const unet = await UNet2DConditionModel.fromPretrained(folder, { dtype, ...int8 });
        expect(unet).toMatchObject({ dtype, quantization: "int8" });
        const quantized = await forward(unet, size);
        const apart = await relativeError(quantized, exact);
        expect(apart).toBeGreaterThan(1e-4);
        // Without VNNI, inputs have 7 bits.
        expect(apart).toBeLessThan(0.08);
        expect(await relativeError(await forward(unet, size), quantized)).toBe(0);
      }
    });

  test("takes less memory", async () => {
    const before = native().memoryUsage().bytes;
    using _exact = await UNet2DConditionModel.fromPretrained(tiny);
    const between = native().memoryUsage().bytes;
    using _quantized = await UNet2DConditionModel.fromPretrained(tiny, int8);
    expect(native().memoryUsage().bytes - between).toBeLessThan(0.5 * (between - before));
  });

  const refused = (message: RegExp) => ({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(message) });

  test("has no weights to read, save, set or train", async () => {
    using unet = await UNet2DConditionModel.fromPretrained(tiny, int8);
    const none = refused(
      /does not keep its original weights|keeps no other copy of them: load it without quantization/,
    );
    for (const used of [false, true]) {
      if (used) await forward(unet, [8, 8]);
      await expect(unet.stateDict()).rejects.toMatchObject(none);
      const folder = join(temporaryFolder(), "saved");
      await expect(unet.savePretrained(folder)).rejects.toMatchObject(none);
      expect(existsSync(folder)).toBe(false);
      const bias = await Tensor.zeros([unet.config.out_channels]);
      await expect(native().setModelParameter(unet.handle, "conv_out.bias", bias.handle)).rejects.toMatchObject(none);
      await expect(native().modelStateDict(unet.handle)).rejects.toMatchObject(none);
      await expect(Trainer.create(unet, TRAINING)).rejects.toMatchObject(none);
    }
    await forward(unet, [8, 8]);
  });

  test.each([
    [{ ...int8, dtype: "float16" }, /beside float32 or bfloat16, not with dtype float16/],
    [{ ...int8, device: "cuda:0" }, /computes on the CPU only, not on cuda:0: give the device "cpu"/],
    [{ quantization: "int4" }, /quantization must be one of none, int8, not "int4"/],
    [{ quantization: null }, /quantization must be one of none, int8, not null/],
  ] as [ModelOptions, RegExp][])("is refused with %j", async (options, message) => {
    await expect(UNet2DConditionModel.fromPretrained(tiny, options)).rejects.toMatchObject(refused(message));
  });

  test("is the only model that can be quantized", async () => {
    const folder = fixture("ip2p-tiny", "model/vae");
    await expect(AutoencoderKL.fromPretrained(folder, int8 as ModelOptions)).rejects.toMatchObject(
      refused(/unknown option "quantization"/),
    );
  });
});

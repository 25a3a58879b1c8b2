import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { disposeAll, Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { fixture } from "../helpers/fixtures.js";

const model = fixture("ip2p-tiny", "model");
const style = fixture("lora", "style.safetensors");
const folder = mkdtempSync(join(tmpdir(), "ip2p-lora-int8-"));
/** The layers whose weights become integers. */
const QUANTIZED = /resnets\.\d+\.conv[12]\.weight$|attn1\.to_.*weight$|attn2\.to_(q|out\.0)\.weight$|ff\.net.*weight$/;

let int8: InstructPix2PixPipeline;
/** The same with weights that are the integers' values, in float arithmetic. */
let dequantized: InstructPix2PixPipeline;

beforeAll(async () => {
  int8 = await InstructPix2PixPipeline.fromPretrained(model, { device: "cpu", quantization: "int8" });
  cpSync(model, folder, { recursive: true });
  const file = join(folder, "unet", "diffusion_pytorch_model.safetensors");
  const weights = await loadSafetensors(file);
  for (const [name, weight] of Object.entries(weights)) {
    if (!QUANTIZED.test(name)) continue;
    const values = Float32Array.from(await weight.toArray(), Number);
    const row = values.length / weight.shape[0]!;
    for (let start = 0; start < values.length; start += row) {
      const channel = values.subarray(start, start + row);
      const scale = channel.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
      for (const [i, value] of channel.entries()) channel[i] = scale === 0 ? 0 : Math.round(value / scale) * scale;
    }
    weights[name] = Tensor.from(values, weight.shape);
    weight.dispose();
  }
  await saveSafetensors(file, weights, { format: "pt" });
  disposeAll(...Object.values(weights));
  dequantized = await InstructPix2PixPipeline.fromPretrained(folder, { device: "cpu" });
});
afterAll(() => {
  int8.dispose();
  dequantized.dispose();
  rmSync(folder, { recursive: true });
});

/** The root of the mean square. */
function size(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}

const less = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value - b[i]!);

it("are added in float beside 8-bit products, as to weights of the integers' values", async () => {
  const random = (shape: number[], seed: number) => Tensor.randn(shape, { generator: new Generator("cpu", seed) });
  const sample = await random([2, 8, 16, 16], 1);
  const text = await random([2, 7, Number(int8.unet.config.cross_attention_dim)], 2);
  const predict = async ({ unet }: InstructPix2PixPipeline) => {
    using prediction = await unet.forward(sample, 400, text);
    return Array.from(await prediction.toArray(), Number);
  };
  const plain = [await predict(int8), await predict(dequantized)] as const;
  for (const pipe of [int8, dequantized]) await pipe.loadLoraWeights(style, { adapterName: "style" });
  const adapted = async (weight: number) => {
    for (const pipe of [int8, dequantized])
      await pipe.setAdapters("style", { unet: weight, blocks: { "up_blocks.0": 0.5 } });
    return [await predict(int8), await predict(dequantized)] as const;
  };
  // Inputs are rounded to 8 bits in both, which is all that is left between them.
  const rounding = size(less(...plain));
  expect(rounding).toBeGreaterThan(0);
  expect(size(less(...(await adapted(1))))).toBeLessThan(2 * rounding);
  // The effect of a strong adapter, beside which the rounding is small.
  const strong = await adapted(6);
  const effects = [less(strong[0], plain[0]), less(strong[1], plain[1])] as const;
  expect(size(effects[1])).toBeGreaterThan(5 * rounding);
  expect(size(less(...effects)) / size(effects[1])).toBeLessThan(0.25);

  // By row, disabled and unloaded, the integers are what they were. Rows of a batch share the range of their inputs.
  await int8.setAdapters([]);
  using byRow = await int8.unet.forward(sample, 400, text, { adapters: [{ name: "style", rows: [6, 0] }] });
  const moved = less(Array.from(await byRow.toArray(), Number), plain[0]);
  expect(size(moved.slice(0, moved.length / 2))).toBeGreaterThan(5 * rounding);
  expect(size(moved.slice(moved.length / 2))).toBeLessThan(2 * rounding);
  await int8.setAdapters("style");
  await int8.disableLora();
  expect(await predict(int8)).toEqual(plain[0]);
  await int8.enableLora();
  expect(await predict(int8)).not.toEqual(plain[0]);
  await expect(int8.fuseLora()).rejects.toThrow(/does not keep its original weights/);
  await int8.unloadLoraWeights();
  expect(await predict(int8)).toEqual(plain[0]);
});

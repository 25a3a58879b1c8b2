import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";
import type { PretrainedModel } from "../../lib/models/pretrained.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { fixture } from "../helpers/fixtures.js";

const model = fixture("ip2p-tiny", "model");
const style = fixture("lora", "style.safetensors");
const other = fixture("lora", "other.safetensors");
const call = { prompt: "make it snow", image: fixture("lora", "image0.png"), numInferenceSteps: 2, seed: 3 };
const folder = mkdtempSync(join(tmpdir(), "ip2p-lora-"));
let pipe: InstructPix2PixPipeline;

beforeAll(async () => {
  pipe = await InstructPix2PixPipeline.fromPretrained(model);
});
afterAll(() => {
  pipe.dispose();
  rmSync(folder, { recursive: true });
});

/** Digests of the weights. */
async function bits(part: PretrainedModel<unknown>): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const [name, tensor] of Object.entries(await part.parameters()))
    digests[name] = createHash("sha1")
      .update((await tensor.toArray()) as Float32Array)
      .digest("hex");
  return digests;
}
const allBits = async () => [await bits(pipe.unet), await bits(pipe.textEncoder)];
const picture = async () => (await pipe.run(call)).images[0]!;

describe("adapters", () => {
  it("leave the original bits, also of packed weights", async () => {
    const plain = await picture(); // packs the weights
    const before = await allBits();
    await picture();
    expect(await pipe.loadLoraWeights(style)).toBe("default_0");
    expect(await pipe.loadLoraWeights(other, { weight: 0.5 })).toBe("default_1");
    const merged = await picture();
    expect(merged.equals(plain)).toBe(false);
    await pipe.fuseLora({ scale: 0.7, adapterNames: ["default_1"] });
    expect(pipe.fusedAdapters).toEqual(["default_1"]);
    expect((await picture()).equals(merged)).toBe(false);
    await pipe.unfuseLora();
    expect((await picture()).equals(merged)).toBe(true);
    await pipe.disableLora();
    expect(pipe.activeAdapters).toEqual([]);
    expect(await allBits()).toEqual(before);
    await pipe.enableLora();
    expect((await picture()).equals(merged)).toBe(true);
    await pipe.deleteAdapters("default_0");
    expect(pipe.adapters).toEqual(["default_1"]);
    await pipe.unloadLoraWeights();
    expect([pipe.adapters, pipe.activeAdapters]).toEqual([[], []]);
    expect(await allBits()).toEqual(before);
    expect((await picture()).equals(plain)).toBe(true);
  });

  it("count by model and by block", async () => {
    const before = await allBits();
    await pipe.loadLoraWeights(style, { adapterName: "s", weight: { textEncoder: 0, blocks: { up_blocks: 0 } } });
    const [unet, text] = await allBits();
    expect(text).toEqual(before[1]);
    const changed = Object.keys(unet!).filter((name) => unet![name] !== before[0]![name]);
    expect(changed.some((name) => name.startsWith("down_blocks"))).toBe(true);
    expect(changed.some((name) => name.startsWith("up_blocks"))).toBe(false);
    await pipe.setAdapters("s", { unet: 0, textEncoder: 1 });
    expect((await allBits())[0]).toEqual(before[0]);
    expect((await allBits())[1]).not.toEqual(before[1]);
    for (const weight of [Number.NaN, 1e30, { blocks: { nowhere: 1 } }, { vae: 1 }, "1"])
      await expect(pipe.setAdapters("s", weight as number)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    await pipe.unloadLoraWeights();
    expect(await allBits()).toEqual(before);
  });

  it("do not change during a run, and are not saved unless they are fused", async () => {
    await pipe.loadLoraWeights(style, { adapterName: "s" });
    const running = pipe.run(call);
    await expect(pipe.setAdapters("s", 0.5)).rejects.toMatchObject({ code: "ERR_IN_USE" });
    const { images } = await running;
    expect((await picture()).equals(images[0]!)).toBe(true);
    await expect(pipe.savePretrained(join(folder, "saved"))).rejects.toThrow(/"s".*fuseLora/);
    await pipe.fuseLora();
    await expect(pipe.setAdapters("s", 0.5)).rejects.toThrow(/fused/);
    await pipe.savePretrained(join(folder, "saved"));
    {
      using saved = await InstructPix2PixPipeline.fromPretrained(join(folder, "saved"));
      expect((await saved.run(call)).images[0]!.equals(images[0]!)).toBe(true);
    }
    await pipe.unfuseLora();
    await pipe.unloadLoraWeights();
  });

  it("stay in the weights if they are unloaded while they are fused", async () => {
    using own = await InstructPix2PixPipeline.fromPretrained(model);
    await own.loadLoraWeights(style);
    await own.fuseLora();
    const fused = await bits(own.unet);
    await own.unloadLoraWeights();
    await own.unfuseLora();
    expect([own.adapters, own.fusedAdapters]).toEqual([[], []]);
    expect(await bits(own.unet)).toEqual(fused);
  });

  it("are refused for names that are unknown or taken", async () => {
    await expect(pipe.setAdapters("s")).rejects.toThrow(/no adapter "s"/);
    await expect(pipe.fuseLora()).rejects.toThrow(/no active adapter/);
    await pipe.loadLoraWeights(style, { adapterName: "s" });
    await expect(pipe.loadLoraWeights(style, { adapterName: "s" })).rejects.toThrow(/"s" already/);
    await expect(pipe.setAdapters(["s"], [1, 2])).rejects.toThrow(/2 entries for 1/);
    await pipe.unloadLoraWeights();
  });
});

describe("an adapter that is refused names why, and changes nothing", () => {
  const KEY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
  const rows = (shape: number[], value = 0.1) => Tensor.full(shape, value);
  const good = async (key = KEY) => ({
    [`${key}.lora_A.weight`]: await rows([2, 32]),
    [`${key}.lora_B.weight`]: await rows([32, 2]),
  });
  const cases: [string, () => Promise<Record<string, Tensor>>, string, RegExp][] = [
    [
      "wrong base",
      async () => ({ ...(await good()), [`${KEY}.lora_A.weight`]: await rows([2, 320]) }),
      "ERR_STATE_DICT",
      /\[2,320\].*\[32,32\].*another base/,
    ],
    [
      "wrong rank",
      async () => ({ ...(await good()), [`${KEY}.lora_B.weight`]: await rows([32, 3]) }),
      "ERR_STATE_DICT",
      /ranks of .*to_q/,
    ],
    ["unknown layer", () => good("unet.mid_block.attentions.7.to_q"), "ERR_STATE_DICT", /attentions\.7.*another base/],
    ["unknown name", async () => ({ ...(await good()), something: await rows([1]) }), "ERR_STATE_DICT", /"something"/],
    [
      "second text encoder",
      () => good("lora_te2_text_model_encoder_layers_0_self_attn_q_proj"),
      "ERR_STATE_DICT",
      /no text_encoder_2/,
    ],
    [
      "half",
      async () => ({ [`${KEY}.lora_A.weight`]: await rows([2, 32]) }),
      "ERR_STATE_DICT",
      /lacks its counterpart/,
    ],
    [
      "twice",
      async () => ({
        ...(await good()),
        ...(await good("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q")),
      }),
      "ERR_STATE_DICT",
      /same layer/,
    ],
    ["nothing", async () => ({}), "ERR_STATE_DICT", /no adapter/],
    [
      "NaN",
      async () => ({ ...(await good()), [`${KEY}.lora_B.weight`]: await rows([32, 2], Number.NaN) }),
      "ERR_NOT_FINITE",
      /to_q\.lora_B/,
    ],
    [
      "huge alpha",
      async () => ({ ...(await good()), [`${KEY}.alpha`]: await Tensor.full([], 1e20) }),
      "ERR_STATE_DICT",
      /alpha of .* is 1000\d{17} for rank 2/,
    ],
    [
      "NaN alpha",
      async () => ({ ...(await good()), [`${KEY}.alpha`]: await Tensor.full([], Number.NaN) }),
      "ERR_STATE_DICT",
      /alpha of .*NaN/,
    ],
    [
      "overflow",
      async () => ({
        [`${KEY}.lora_A.weight`]: await rows([2, 32], 1e30),
        [`${KEY}.lora_B.weight`]: await rows([32, 2], 1e30),
      }),
      "ERR_NOT_FINITE",
      /mid_block.*to_q/,
    ],
    ["DoRA", async () => ({ ...(await good()), [`${KEY}.dora_scale`]: await rows([32, 1]) }), "ERR_STATE_DICT", /DoRA/],
    ["LoHa", async () => ({ "lora_unet_conv_in.hada_w1_a": await rows([2, 2]) }), "ERR_STATE_DICT", /LoHa/],
    [
      "a transformer",
      async () => ({ "transformer.single_blocks.0.lora_A.weight": await rows([2, 2]) }),
      "ERR_STATE_DICT",
      /transformer/,
    ],
    [
      "integers",
      async () => ({ ...(await good()), [`${KEY}.lora_B.weight`]: await Tensor.full([32, 2], 1, { dtype: "int64" }) }),
      "ERR_STATE_DICT",
      /I64/,
    ],
  ];

  it.each(cases)("%s", async (name, tensors, code, message) => {
    const before = await allBits();
    const file = join(folder, `${name.replaceAll(" ", "-")}.safetensors`);
    await saveSafetensors(file, await tensors());
    await expect(pipe.loadLoraWeights(file)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(pipe.adapters).toEqual([]);
    expect(await allBits()).toEqual(before);
  });

  it("what is no adapter's file", async () => {
    const text = join(folder, "text.safetensors");
    writeFileSync(text, "no safetensors");
    await expect(pipe.loadLoraWeights(text)).rejects.toMatchObject({ code: "ERR_SAFETENSORS" });
    await expect(pipe.loadLoraWeights("adapter.ckpt")).rejects.toThrow(/pickle/);
    await expect(pipe.loadLoraWeights(folder)).rejects.toThrow(/weightName/);
    await expect(pipe.loadLoraWeights(folder, { weightName: "../x.safetensors" })).rejects.toThrow(/weightName/);
    await expect(pipe.loadLoraWeights(folder, { weightName: "none.safetensors" })).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
    });
  });

  it("undoes what was changed already if a later model fails", async () => {
    const before = await allBits();
    const file = join(folder, "later.safetensors");
    const text = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj";
    await saveSafetensors(file, {
      ...(await good()),
      [`${text}.lora_A.weight`]: await rows([2, 32], 1e30),
      [`${text}.lora_B.weight`]: await rows([32, 2], 1e30),
    });
    await expect(pipe.loadLoraWeights(file)).rejects.toMatchObject({ code: "ERR_NOT_FINITE" });
    expect(await allBits()).toEqual(before);
  });
});

describe("older and newer spellings", () => {
  it("give the same weights", async () => {
    const tensors = await loadSafetensors(style);
    const spellings: ((name: string) => string)[] = [
      (name) => name.replace(/\.(to_\w+?)(?:\.0)?\.lora\./, ".processor.$1_lora."),
      (name) => name.replace(".lora.down.", ".lora_A.default.").replace(".lora.up.", ".lora_B.default."),
      (name) => name.replace("text_encoder.text_model.", "text_encoder."),
    ];
    await pipe.loadLoraWeights(style);
    const wanted = await allBits();
    await pipe.unloadLoraWeights();
    for (const [i, spelling] of spellings.entries()) {
      const file = join(folder, `spelling-${i}.safetensors`);
      const renamed = Object.entries(tensors).map(([name, tensor]) => [spelling(name), tensor] as const);
      expect(renamed.some(([name]) => !(name in tensors))).toBe(true);
      await saveSafetensors(file, Object.fromEntries(renamed));
      await pipe.loadLoraWeights(file);
      expect(await allBits(), String(spelling)).toEqual(wanted);
      await pipe.unloadLoraWeights();
    }
  });
});

describe("Stable Diffusion XL", () => {
  it("takes the names of kohya's scripts, with the original code's blocks, as those of diffusers", async () => {
    using xl = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(fixture("sdxl-ip2p", "model"));
    const unet = await xl.unet.parameters();
    const layer = Object.keys(unet).find((name) =>
      /^down_blocks\.1\.attentions\.0\..*attn1\.to_q\.weight$/.test(name),
    )!;
    const [rows, columns] = unet[layer]!.shape as [number, number];
    const factors = { A: await Tensor.randn([3, columns]), B: await Tensor.randn([rows, 3]) };
    const path = layer.slice(0, -".weight".length);
    const block = 2 + [xl.unet.config.layers_per_block].flat()[0]!;
    const original = `lora_unet_input_blocks_${block}_1_${path.split(".").slice(4).join("_")}`;
    await saveSafetensors(join(folder, "xl.safetensors"), {
      [`unet.${path}.lora_A.weight`]: factors.A,
      [`unet.${path}.lora_B.weight`]: factors.B,
    });
    await saveSafetensors(join(folder, "xl-kohya.safetensors"), {
      [`${original}.lora_down.weight`]: factors.A,
      [`${original}.lora_up.weight`]: factors.B,
    });
    const before = await bits(xl.unet);
    await xl.loadLoraWeights(join(folder, "xl.safetensors"));
    const wanted = await bits(xl.unet);
    expect(wanted).not.toEqual(before);
    await xl.unloadLoraWeights();
    await xl.loadLoraWeights(join(folder, "xl-kohya.safetensors"));
    expect(await bits(xl.unet)).toEqual(wanted);
  });
});

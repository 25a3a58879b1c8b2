import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { inferAutoencoderConfig } from "../../lib/single-file/autoencoder-config.js";
import { autoencoderNames } from "../../lib/single-file/autoencoder-names.js";
import { type Component, componentOf, type Shape, type SingleFile } from "../../lib/single-file/file.js";
import {
  COMPONENT_PREFIXES,
  type ComponentName,
  type Family,
  identify,
  isIgnored,
} from "../../lib/single-file/layout.js";
import { type NameTable, viewsOf } from "../../lib/single-file/names.js";
import { defaultScheduler } from "../../lib/single-file/scheduler.js";
import { inferProjectedTextEncoderConfig, inferTextEncoderConfig } from "../../lib/single-file/text-encoder-config.js";
import { openClipNames, transformersNames } from "../../lib/single-file/text-encoder-names.js";
import { inferUNetConfig } from "../../lib/single-file/unet-config.js";
import { type UNetStructure, unetNames } from "../../lib/single-file/unet-names.js";
import { fixture, readJson } from "../helpers/fixtures.js";

type Config = Record<string, unknown>;

const FAMILIES = ["sd1", "sd2", "sdxl", "sdxl-refiner"] as const;
const published = readJson<Record<Family, Record<string, Config>>>(fixture("single-file", "published.json"));
const digests = readJson<Record<Family, Record<string, string>>>(fixture("single-file", "names.json"));

function fileOf(family: Family, shapes: Record<string, Shape>): SingleFile {
  const components = new Map<ComponentName, Component & { shapes: Map<string, Shape> }>();
  for (const [name, shape] of Object.entries(shapes)) {
    const { component, prefix } = COMPONENT_PREFIXES[family].find((one) => name.startsWith(one.prefix))!;
    if (!components.has(component)) components.set(component, { prefix, shapes: new Map(), dtypes: new Set() });
    components.get(component)!.shapes.set(name.slice(prefix.length), shape);
  }
  return { path: "model.safetensors", family, isEdm: false, components };
}

const shapesOf = (family: Family) => readJson<Record<string, Shape>>(fixture("single-file", `shapes-${family}.json`));
const headerOf = (shapes: Record<string, Shape>) =>
  new Map(Object.entries(shapes).map(([name, shape]) => [name, { dtype: "F16", shape }]));

function digestOf(file: SingleFile, component: ComponentName, table: NameTable): string {
  const names = viewsOf(file, componentOf(file, component), table).map(({ name }) => name.replace(/^text_model\./, ""));
  return createHash("sha256")
    .update([...new Set(names)].sort().join("\n"))
    .digest("hex");
}

/** Compares the keys that both have; what the published file lacks has its default. */
function expectConfig(inferred: Config, expected: Config, defaults: Config): void {
  for (const key of new Set([...Object.keys(inferred), ...Object.keys(expected)])) {
    if (["model_type", "architectures"].includes(key)) continue;
    expect([key, inferred[key] ?? defaults[key]]).toEqual([key, expected[key] ?? defaults[key]]);
  }
}

const UNET_DEFAULTS: Config = {
  act_fn: "silu",
  center_input_sample: false,
  downsample_padding: 1,
  flip_sin_to_cos: true,
  freq_shift: 0,
  mid_block_scale_factor: 1,
  norm_eps: 1e-5,
  norm_num_groups: 32,
  transformer_layers_per_block: 1,
  use_linear_projection: false,
  addition_embed_type_num_heads: 64,
  conv_in_kernel: 3,
  conv_out_kernel: 3,
  mid_block_type: "UNetMidBlock2DCrossAttn",
  resnet_time_scale_shift: "default",
  time_embedding_type: "positional",
};

test.each(FAMILIES)("%s: every tensor of the published model has diffusers' name", (family) => {
  const shapes = shapesOf(family);
  expect(identify("model.safetensors", headerOf(shapes))).toBe(family);
  const file = fileOf(family, shapes);
  const { unet, vae, text_encoder, text_encoder_2 } = published[family];
  const structure = { mid_block_type: "UNetMidBlock2DCrossAttn", ...unet } as unknown as UNetStructure;
  expect(digestOf(file, "unet", unetNames(structure))).toBe(digests[family].unet);
  expect(digestOf(file, "vae", autoencoderNames(vae as never))).toBe(digests[family].vae);
  if (text_encoder) {
    const table = family === "sd2" ? openClipNames(text_encoder as never, false) : transformersNames;
    expect(digestOf(file, "text_encoder", table)).toBe(digests[family].text_encoder);
  }
  if (text_encoder_2)
    expect(digestOf(file, "text_encoder_2", openClipNames(text_encoder_2 as never, true))).toBe(
      digests[family].text_encoder_2,
    );
});

test.each(FAMILIES)("%s: the configurations are those of the published model", (family) => {
  const file = fileOf(family, shapesOf(family));
  const { unet, vae, text_encoder, text_encoder_2 } = published[family];
  const inferred = inferUNetConfig(file);
  expectConfig(inferred, unet!, UNET_DEFAULTS);
  expectConfig(inferAutoencoderConfig(file), vae!, { act_fn: "silu", norm_num_groups: 32, scaling_factor: 0.18215 });
  const defaults = {
    attention_dropout: 0,
    dropout: 0,
    initializer_factor: 1,
    initializer_range: 0.02,
    layer_norm_eps: 1e-5,
  };
  if (text_encoder) expectConfig(inferTextEncoderConfig(file), text_encoder, defaults);
  if (text_encoder_2) expectConfig(inferProjectedTextEncoderConfig(file), text_encoder_2, defaults);
});

/** The schedulers of the repositories that diffusers takes for files of each kind. */
const SCHEDULERS: Readonly<Record<string, [className: string, prediction: string]>> = {
  "stable-diffusion-v1-5/stable-diffusion-v1-5": ["PNDMScheduler", "epsilon"],
  "timbrooks/instruct-pix2pix": ["EulerAncestralDiscreteScheduler", "epsilon"],
  "stable-diffusion-v1-5/stable-diffusion-inpainting": ["DDIMScheduler", "epsilon"],
  "stabilityai/stable-diffusion-2-1": ["DDIMScheduler", "v_prediction"],
  "stabilityai/stable-diffusion-2-inpainting": ["DDIMScheduler", "epsilon"],
};

test("the default scheduler is that of the repository that diffusers takes for the kind of file", () => {
  const repositories = readJson<Record<string, string>>(fixture("single-file", "repositories.json"));
  expect(Object.keys(repositories)).toHaveLength(6);
  for (const [kind, repository] of Object.entries(repositories)) {
    const [family, channels] = kind.split("-") as [Family, string];
    const { className, config } = defaultScheduler({ family, isEdm: false }, Number(channels));
    // Diffusers knows no InstructPix2Pix of Stable Diffusion 2: it takes 2.1 for it, whose UNet does not fit.
    const expected = kind === "sd2-8" ? ["EulerAncestralDiscreteScheduler", "v_prediction"] : SCHEDULERS[repository];
    expect([kind, className, config.prediction_type]).toEqual([kind, ...expected!]);
    expect(config).toMatchObject({
      beta_start: 0.00085,
      beta_end: 0.012,
      beta_schedule: "scaled_linear",
      steps_offset: 1,
    });
  }
  const expected = readJson<Config>(fixture("full-size", "scheduler", "scheduler_config.json"));
  expect(defaultScheduler({ family: "sd1", isEdm: false }, 8).config).toEqual(
    Object.fromEntries(Object.entries(expected).filter(([key]) => !key.startsWith("_"))),
  );
});

test("CosXL's scheduler is that of EDM, with its noise levels", () => {
  expect(defaultScheduler({ family: "sdxl", isEdm: true }, 8)).toMatchObject({
    className: "EDMEulerScheduler",
    config: { sigma_max: 120, sigma_data: 1, prediction_type: "v_prediction" },
  });
});

const named = (...names: string[]) => headerOf(Object.fromEntries(names.map((name) => [name, [4, 4]])));

test.each([
  ["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", /is a LoRA/],
  ["unet.down_blocks.0.attentions.0.to_q.lora_A.weight", /is a LoRA/],
  ["unet.down_blocks.0.attentions.0.to_q.lora.down.weight", /is a LoRA/],
  ["control_model.input_blocks.0.0.weight", /is a ControlNet/],
  ["controlnet_cond_embedding.conv_in.weight", /is a ControlNet/],
  ["model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight", /is a diffusion transformer/],
  ["time_embedding.linear_1.weight", /UNet in diffusers' own format.*UNet2DConditionModel\.fromPretrained/],
  ["encoder.down_blocks.0.resnets.0.conv1.weight", /autoencoder in diffusers' own format/],
  ["text_model.embeddings.token_embedding.weight", /text encoder in transformers' own format/],
  ["emb_params", /textual inversion/],
  ["something.else", /no Stable Diffusion model in the original layout/],
])("%s says what the file is", (name, message) => {
  expect(() => identify("f.safetensors", named(name))).toThrow(message);
});

test("an autoencoder alone is one", () => {
  expect(identify("f.safetensors", named("encoder.conv_in.weight", "decoder.conv_in.weight"))).toBe("autoencoder");
});

test.each([
  "model_ema.decay",
  "alphas_cumprod",
  "sqrt_recip_alphas_cumprod",
  "logvar",
  "first_stage_model.loss.logvar",
])("%s is of no use", (name) => expect(isIgnored(name)).toBe(true));

test("names that start like ignored ones are not", () => {
  for (const name of ["logvars", "model.logvar", "first_stage_model.encoder.conv_in.weight", "model_emax.a"])
    expect(isIgnored(name)).toBe(false);
});

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import type { EditOptions } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import { CLIPTokenizer } from "../../lib/tokenizer/clip_tokenizer.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const MODULE_TOLERANCE = 1e-5;
const PICTURE_TOLERANCE = 1e-4;

interface RecordedModule {
  kind: "unet" | "vae" | "text";
  name: string;
  folder: string;
  variant?: string;
  timesteps: number | number[];
  slicing: boolean;
  tiling: boolean;
}

interface RecordedRun {
  name: string;
  scheduler: string;
  prompt: string | string[] | null;
  pictures: number;
  seeds: number[];
  output: "tensor" | "latent";
  call: Partial<EditOptions>;
}

const folder = fixture("parity-configs");
const recorded = readJson<{ modules: RecordedModule[]; runs: RecordedRun[] }>(join(folder, "cases.json"));
const modules = (kind: RecordedModule["kind"]) => recorded.modules.filter((entry) => entry.kind === kind);

async function expectSame(actual: Tensor, expected: Tensor | undefined, what: string): Promise<void> {
  expect((await deviation(actual, expected!)).relative, what).toBeLessThan(MODULE_TOLERANCE);
}

describe("configurations that diffusers allows give what diffusers gives", () => {
  const at = (entry: RecordedModule) => join(folder, entry.folder);
  const tensors = (entry: RecordedModule) => loadSafetensors(join(at(entry), "expected.safetensors"));

  test.each(modules("unet"))("$name", async (entry) => {
    const { sample, context, out } = await tensors(entry);
    for (const attention of ["auto", "math"] as const) {
      using model = await UNet2DConditionModel.fromPretrained(at(entry), { variant: entry.variant, attention });
      using actual = await model.forward(sample!, entry.timesteps, context!);
      await expectSame(actual, out, attention);
    }
  });

  test.each(modules("vae"))("$name", async (entry) => {
    const { image, latents, mean, logvar, decoded } = await tensors(entry);
    using model = await AutoencoderKL.fromPretrained(at(entry));
    model.enableSlicing(entry.slicing);
    model.enableTiling(entry.tiling);
    using posterior = await model.encodeAnySize(image!);
    await expectSame(posterior.mean, mean, "mean");
    await expectSame(posterior.logvar, logvar, "logvar");
    using actual = await model.decode(latents!);
    await expectSame(actual, decoded, "decoded");
  });

  test.each(modules("text"))("$name", async (entry) => {
    const { ids, last, pooled, ...hidden } = await tensors(entry);
    using model = await CLIPTextModel.fromPretrained(at(entry));
    const output = await model.forward(ids!, { hiddenStates: true });
    await expectSame(output.lastHiddenState, last, "last hidden state");
    await expectSame(output.pooled, pooled, "pooled");
    expect(output.hiddenStates).toHaveLength(Object.keys(hidden).length);
    for (const [i, state] of output.hiddenStates!.entries())
      await expectSame(state, hidden[`hidden.${i}`], `hidden ${i}`);
  });
});

describe("calls of the pipeline give the images that diffusers gives", () => {
  const at = (...path: string[]) => join(folder, "pipeline", ...path);
  let pipe: InstructPix2PixPipeline;
  let tensors: Record<string, Tensor>;
  beforeAll(async () => {
    tensors = await loadSafetensors(at("expected.safetensors"));
    pipe = new InstructPix2PixPipeline({
      unet: await UNet2DConditionModel.fromPretrained(at("unet")),
      vae: await AutoencoderKL.fromPretrained(at("vae")),
      textEncoder: await CLIPTextModel.fromPretrained(at("text_encoder")),
      tokenizer: await CLIPTokenizer.fromPretrained(fixture("ip2p-tiny", "model", "tokenizer")),
      scheduler: schedulerFromClassName("DDIMScheduler").fromConfig({}),
    });
  });
  afterAll(() => pipe.dispose());

  test.each(recorded.runs.map((run, i) => ({ i, ...run })))("$name", async (run) => {
    const given = (key: string): Tensor | undefined => tensors[`${run.i}.${key}`];
    const generators = run.seeds.map((seed) => new Generator("cpu", seed));
    pipe.scheduler = schedulerFromClassName(run.scheduler).fromConfig({
      beta_start: 0.00085,
      beta_end: 0.012,
      beta_schedule: "scaled_linear",
      steps_offset: 1,
    });
    const { images } = await pipe.run({
      ...run.call,
      prompt: run.prompt ?? undefined,
      promptEmbeds: given("promptEmbeds"),
      negativePromptEmbeds: given("negativePromptEmbeds"),
      latents: given("latents"),
      image: given("image") ?? Array.from({ length: run.pictures }, (_, i) => at(`${run.i}.${i}.png`)),
      generator: generators.length === 1 ? generators[0] : generators,
      outputType: run.output,
    });
    const { absolute, relative } = await deviation(images, given("out")!);
    if (run.output === "latent") expect(relative).toBeLessThan(MODULE_TOLERANCE);
    else expect(absolute).toBeLessThan(PICTURE_TOLERANCE);
  });
});

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CLIPImageProcessor } from "../../lib/conditioning/clip_image_processor.js";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { CLIPVisionModelWithProjection } from "../../lib/models/clip_vision_model_with_projection.js";
import { PriorTransformer } from "../../lib/models/prior_transformer.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { VQModel } from "../../lib/models/vq_model.js";
import type { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import { pipelineFromClassName } from "../../lib/pipelines/registry.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import type { Scheduler } from "../../lib/schedulers/scheduler.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const FOLDER = "kandinsky22";
const MODULES = 1e-5;
const PIPELINES = 1e-4;

interface Run {
  pipeline: string;
  model: string;
  seed: number;
  method?: string;
  output_type?: string;
  scheduler: string;
  scheduler_config?: Record<string, unknown>;
  scheduler_new?: boolean;
  args: Record<string, unknown>;
}

let expected: Record<string, Tensor>;
beforeAll(async () => {
  expected = await loadSafetensors(fixture(FOLDER, "expected.safetensors"));
});

const at = (name: string): Tensor => expected[name]!;
const relative = async (given: Tensor, name: string) => (await deviation(given, at(name))).relative;

describe("models alone", () => {
  test("the UNet, conditioned on image embeddings", async () => {
    using unet = await UNet2DConditionModel.fromPretrained(fixture(FOLDER, "decoder/unet"));
    const options = { addedConditions: { imageEmbeds: at("unet.image_embeds") } };
    using out = await unet.forward(at("unet.sample"), at("unet.timestep"), null, options);
    expect(await relative(out, "unet.out")).toBeLessThan(MODULES);
  });

  test("the autoencoder with a codebook", async () => {
    using movq = await VQModel.fromPretrained(fixture(FOLDER, "decoder/movq"));
    expect(await relative(await movq.encode(at("movq.image")), "movq.latents")).toBeLessThan(MODULES);
    const plain = await movq.decode(at("movq.latents"), { forceNotQuantize: true });
    expect(await relative(plain, "movq.decoded")).toBeLessThan(MODULES);
    expect(await relative(await movq.decode(at("movq.latents")), "movq.decoded_quantized")).toBeLessThan(MODULES);
  });

  test("the image encoder and its processor", async () => {
    using encoder = await CLIPVisionModelWithProjection.fromPretrained(fixture(FOLDER, "prior/image_encoder"));
    const processor = await CLIPImageProcessor.fromPretrained(fixture(FOLDER, "prior/image_processor"));
    for (const name of ["image", "image2"]) {
      using pixels = await processor.preprocess(fixture(FOLDER, `${name}.png`));
      expect((await deviation(pixels, at(`vision.${name}.pixel_values`))).absolute).toBeLessThan(1e-6);
      const { imageEmbeds } = await encoder.forward(pixels);
      expect(await relative(imageEmbeds, `vision.${name}.image_embeds`)).toBeLessThan(MODULES);
    }
  });

  test("the prior", async () => {
    using prior = await PriorTransformer.fromPretrained(fixture(FOLDER, "prior/prior"));
    const [timestep] = await at("prior.timestep").toArray();
    const out = await prior.forward(at("prior.sample"), Number(timestep), at("text.text_embeds"), {
      encoderHiddenStates: at("text.last_hidden_state"),
      attentionMask: at("text.attention_mask"),
    });
    expect(await relative(out, "prior.out")).toBeLessThan(MODULES);
    expect(await relative(await prior.postProcessLatents(at("prior.sample")), "prior.post_process")).toBeLessThan(
      MODULES,
    );
  });
});

describe("pipelines", () => {
  const { runs } = readJson<{ runs: Run[] }>(fixture(FOLDER, "case.json"));
  const pipelines = new Map<string, Promise<DiffusionPipeline>>();
  afterAll(async () => {
    for (const pipe of pipelines.values()) (await pipe).dispose();
  });

  const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  const argument = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(argument);
    const { image, tensor } = Object(value) as { image?: string; tensor?: string };
    // Not its path: where texts are mixed with images, strings are texts.
    if (image !== undefined) return readFileSync(fixture(FOLDER, image));
    return tensor === undefined ? value : at(tensor);
  };

  test.each(runs.map((run, i) => ({ i, ...run })))("run $i: $pipeline, $scheduler", async ({ i, ...run }) => {
    const key = `${run.pipeline} ${run.model}`;
    // biome-ignore lint/suspicious/noExplicitAny: the recorded class decides
    const Pipeline = pipelineFromClassName(run.pipeline) as any;
    if (!pipelines.has(key)) pipelines.set(key, Pipeline.fromPretrained(fixture(FOLDER, run.model)));
    // biome-ignore lint/suspicious/noExplicitAny: likewise
    const pipe = (await pipelines.get(key)!) as any;
    const before: Scheduler = pipe.scheduler;
    if (run.scheduler_config)
      pipe.scheduler = schedulerFromClassName(run.scheduler).fromConfig({
        ...(!run.scheduler_new && before.config),
        ...run.scheduler_config,
      });
    try {
      const args = Object.fromEntries(
        Object.entries(run.args).map(([name, value]) => [camelCase(name), argument(value)]),
      );
      const steps: Tensor[] = [];
      const options = {
        ...args,
        generator: new Generator("cpu", run.seed),
        ...(run.method === undefined && {
          onStep: async ({ latents }: { latents: Tensor }) => void steps.push(await latents.clone()),
        }),
      };
      if (run.model === "prior") {
        if (run.pipeline.includes("Emb2Emb") || run.method) delete (options as { onStep?: unknown }).onStep;
        const result = await pipe[run.method ?? "run"](options);
        expect(await relative(result.imageEmbeds, `run${i}.image_embeds`)).toBeLessThan(PIPELINES);
        expect(await relative(result.negativeImageEmbeds, `run${i}.negative_image_embeds`)).toBeLessThan(PIPELINES);
      } else {
        const latent = run.output_type === "latent";
        const { images } = await pipe.run({ ...options, outputType: latent ? "latent" : "tensor" });
        const recorded = at(`run${i}.images`);
        // Where the reference leaves pixels in -1..1, here they are in 0..1.
        const raw = run.output_type === "pt" && run.pipeline === "KandinskyV22Pipeline";
        const wanted = raw ? await (await (await recorded.mul(0.5)).add(0.5)).clamp(0, 1) : recorded;
        expect(images.shape).toEqual(wanted.shape);
        const difference = await deviation(images, wanted);
        expect(latent ? difference.relative : difference.absolute).toBeLessThan(PIPELINES);
      }
      const trajectory = expected[`run${i}.latents`];
      if (trajectory && steps.length > 0) {
        const all = await Tensor.cat(await Promise.all(steps.map((step) => step.reshape([1, ...step.shape]))));
        expect(await relative(all, `run${i}.latents`)).toBeLessThan(PIPELINES);
      }
    } finally {
      pipe.scheduler = before;
    }
  });
});

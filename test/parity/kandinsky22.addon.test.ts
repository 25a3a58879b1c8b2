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
import { KandinskyV22InpaintPipeline } from "../../lib/pipelines/kandinsky2_2/kandinsky2_2_inpaint.js";
import { pipelineFromClassName } from "../../lib/pipelines/registry.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import type { Scheduler } from "../../lib/schedulers/scheduler.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { drawsWithin } from "./replay.js";

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
  /** As many, with seeds from `seed` on, instead of one. */
  generators?: number;
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

const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** Runs what a folder's case.json holds, with pipelines that `load` makes, and compares. */
function replay(
  folder: string,
  // biome-ignore lint/suspicious/noExplicitAny: the recorded class decides
  load: (Pipeline: any, run: Run) => Promise<DiffusionPipeline>,
): void {
  const { runs } = readJson<{ runs: Run[] }>(fixture(folder, "case.json"));
  const pipelines = new Map<string, Promise<DiffusionPipeline>>();
  let recorded: Record<string, Tensor>;
  beforeAll(async () => {
    recorded = await loadSafetensors(fixture(folder, "expected.safetensors"));
  });
  afterAll(async () => {
    for (const pipe of pipelines.values()) (await pipe).dispose();
  });

  const relativeTo = async (given: Tensor, name: string) => (await deviation(given, recorded[name]!)).relative;
  const argument = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(argument);
    const { image, tensor } = Object(value) as { image?: string; tensor?: string };
    // Not its path: where texts are mixed with images, strings are texts.
    if (image !== undefined) return readFileSync(fixture(folder, image));
    return tensor === undefined ? value : recorded[tensor];
  };

  test.each(runs.map((run, i) => ({ i, ...run })))("run $i: $pipeline, $scheduler", async ({ i, ...run }) => {
    const key = `${run.pipeline} ${run.model}`;
    if (!pipelines.has(key)) pipelines.set(key, load(pipelineFromClassName(run.pipeline), run));
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
      const generators = Array.from({ length: run.generators ?? 1 }, (_, k) => new Generator("cpu", run.seed + k));
      const generator = generators[0]!;
      const options = {
        ...args,
        generator: run.generators ? generators : generator,
        ...(run.method === undefined && {
          onStep: async ({ latents }: { latents: Tensor }) => void steps.push(await latents.clone()),
        }),
      };
      if (run.model === "prior") {
        if (run.pipeline.includes("Emb2Emb") || run.method) delete (options as { onStep?: unknown }).onStep;
        const result = await pipe[run.method ?? "run"](options);
        expect(await relativeTo(result.imageEmbeds, `run${i}.image_embeds`)).toBeLessThan(PIPELINES);
        expect(await relativeTo(result.negativeImageEmbeds, `run${i}.negative_image_embeds`)).toBeLessThan(PIPELINES);
      } else {
        const latent = run.output_type === "latent";
        const { images } = await pipe.run({ ...options, outputType: latent ? "latent" : "tensor" });
        const theirs = recorded[`run${i}.images`]!;
        // Where the reference leaves pixels in -1..1, here they are in 0..1.
        const raw = run.output_type === "pt" && run.pipeline === "KandinskyV22Pipeline";
        const wanted = raw ? await (await (await theirs.mul(0.5)).add(0.5)).clamp(0, 1) : theirs;
        expect(images.shape).toEqual(wanted.shape);
        const difference = await deviation(images, wanted);
        expect(latent ? difference.relative : difference.absolute).toBeLessThan(PIPELINES);
      }
      if (recorded[`run${i}.latents`] && steps.length > 0) {
        const all = await Tensor.cat(await Promise.all(steps.map((step) => step.reshape([1, ...step.shape]))));
        expect(await relativeTo(all, `run${i}.latents`)).toBeLessThan(PIPELINES);
      }
      // Exactly as many values were drawn.
      if (recorded[`run${i}.rng`]) {
        const drawn = await Tensor.randn([16], { generator });
        expect(await relativeTo(drawn, `run${i}.rng`)).toBeLessThanOrEqual(drawsWithin(0));
      }
    } finally {
      pipe.scheduler = before;
    }
  });
}

describe("pipelines", () => replay(FOLDER, (Pipeline, run) => Pipeline.fromPretrained(fixture(FOLDER, run.model))));

describe("inpainting, other schedulers, shared noise", () => {
  const folder = "kandinsky22-inpaint";
  const unetAt = fixture(folder, "unet");
  let unet: UNet2DConditionModel;
  beforeAll(async () => {
    unet = await UNet2DConditionModel.fromPretrained(unetAt);
  });
  afterAll(() => unet.dispose());
  replay(folder, (Pipeline, run) =>
    Pipeline.fromPretrained(fixture(FOLDER, run.model), run.pipeline.includes("Inpaint") ? { unet } : {}),
  );

  test("keeps each image's own unmasked part in a batch, where diffusers keeps the first one's", async () => {
    using pipe = await KandinskyV22InpaintPipeline.fromPretrained(fixture(FOLDER, "decoder"), { unet });
    const tensors = await loadSafetensors(fixture(folder, "expected.safetensors"));
    const file = (name: string) => readFileSync(fixture(folder, name));
    const both = { imageEmbeds: tensors.embeds2!, negativeImageEmbeds: tensors.negative2! };
    const shared = { numInferenceSteps: 3, height: 28, width: 36, outputType: "tensor" as const };
    const pairs = [
      { image: file("image.png"), maskImage: file("mask.png") },
      { image: file("grey.png"), maskImage: file("bits.png") },
    ];
    const { images } = await pipe.run({
      ...both,
      ...shared,
      image: pairs.map(({ image }) => image),
      maskImage: pairs.map(({ maskImage }) => maskImage),
      generator: pairs.map((_, i) => new Generator("cpu", i)),
    });
    for (const [i, pair] of pairs.entries()) {
      const imageEmbeds = await both.imageEmbeds.slice(0, i, i + 1);
      const negativeImageEmbeds = await both.negativeImageEmbeds.slice(0, i, i + 1);
      const generator = new Generator("cpu", i);
      const alone = await pipe.run({ ...shared, ...pair, imageEmbeds, negativeImageEmbeds, generator });
      expect((await deviation(await images.slice(0, i, i + 1), alone.images)).absolute).toBeLessThan(1e-5);
    }
  });
});

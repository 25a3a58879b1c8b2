import { afterAll, beforeAll, expect, test } from "vitest";
import { disposeAll, type Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import type { LoraWeight } from "../../lib/lora/weights.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { EulerDiscreteScheduler } from "../../lib/schedulers/euler-discrete.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface Operation {
  op: string;
  file: string;
  adapter: string;
  adapters: string[];
  weights: number[];
  scale: number;
}

interface Run {
  seed: number;
  fresh?: boolean;
  lora?: Operation[];
  args: Record<string, unknown> & { cross_attention_kwargs?: { scale: number } };
}

const { runs } = readJson<{ runs: Run[] }>(fixture("lora", "case.json"));
const TOLERANCE = 1e-4;
let expected: Record<string, Tensor>;

async function load(): Promise<InstructPix2PixPipeline> {
  const pipe = await InstructPix2PixPipeline.fromPretrained(fixture("ip2p-tiny", "model"));
  pipe.scheduler = EulerDiscreteScheduler.fromConfig(pipe.scheduler.config);
  return pipe;
}

async function apply(pipe: InstructPix2PixPipeline, { op, file, adapter, adapters, weights, scale }: Operation) {
  if (op === "load") await pipe.loadLoraWeights(fixture("lora", file), { adapterName: adapter });
  else if (op === "set") await pipe.setAdapters(adapters, weights);
  else if (op === "fuse") await pipe.fuseLora({ scale });
  else if (op === "unfuse") await pipe.unfuseLora();
  else if (op === "unload") await pipe.unloadLoraWeights();
  else if (op === "disable") await pipe.disableLora();
  else throw new Error(`unknown operation ${op}`);
}

beforeAll(async () => {
  expected = await loadSafetensors(fixture("lora", "expected.safetensors"));
});
afterAll(() => disposeAll(...Object.values(expected)));

test("adapters are loaded, weighted, fused, unfused and unloaded as in diffusers", async () => {
  let pipe = await load();
  for (const [i, { seed, fresh, lora = [], args }] of runs.entries()) {
    if (fresh) {
      pipe.dispose();
      pipe = await load();
    }
    for (const operation of lora) await apply(pipe, operation);
    // In InstructPix2Pix the scale of a call is that of the UNet alone.
    const scale = args.cross_attention_kwargs?.scale;
    if (scale !== undefined) await pipe.setAdapters("a", { unet: scale });
    const close = async (actual: Tensor, key: string) =>
      expect((await deviation(actual, expected[`run${i}.${key}`]!)).absolute, `run ${i}, ${key}`).toBeLessThan(
        TOLERANCE,
      );
    const { images } = await pipe.run({
      prompt: args.prompt as string,
      image: fixture("lora", args.image as string),
      numInferenceSteps: args.num_inference_steps as number,
      guidanceScale: args.guidance_scale as number,
      imageGuidanceScale: args.image_guidance_scale as number,
      seed,
      outputType: "tensor",
    });
    await close(images, "images");
    if (scale === undefined) {
      using unet = await pipe.unet.forward(
        expected["input.unet.sample"]!,
        expected["input.unet.timestep"]!,
        expected["input.unet.encoder_hidden_states"]!,
      );
      await close(unet, "unet");
    } else await pipe.setAdapters("a", 1);
    images.dispose();
  }
  pipe.dispose();
});

/** Weights by diffusers' names of a UNet's blocks. */
interface RecordedWeight {
  unet: { down: number; mid: number; up: Record<string, number> };
  text_encoder: number;
}

function weightOf(weight: number | RecordedWeight): LoraWeight {
  if (typeof weight === "number") return weight;
  const { down, mid, up } = weight.unet;
  const ups = Object.entries(up).map(([block, number]) => [`up_blocks.${block.slice("block_".length)}`, number]);
  const blocks = { down_blocks: down, mid_block: mid, ...Object.fromEntries(ups) };
  return { unet: 1, textEncoder: weight.text_encoder, blocks };
}

test("so are convolutions in kohya's names, blocks' weights, and both text encoders of Stable Diffusion XL", async () => {
  const more = readJson<{ runs: { pipeline: "sd" | "xl"; lora: Operation[] }[] }>(fixture("lora-more", "case.json"));
  const pictures = await loadSafetensors(fixture("lora-more", "expected.safetensors"));
  using sd = await InstructPix2PixPipeline.fromPretrained(fixture("ip2p-tiny", "model"));
  using xl = await StableDiffusionXLInstructPix2PixPipeline.fromPretrained(fixture("sdxl-ip2p", "model"));
  const shared = { prompt: "make it snow", numInferenceSteps: 3, guidanceScale: 5, imageGuidanceScale: 1.4, seed: 11 };
  const run = { ...shared, outputType: "tensor" } as const;
  for (const [i, { pipeline, lora }] of more.runs.entries()) {
    const pipe = pipeline === "sd" ? sd : xl;
    for (const { op, file, adapter, adapters, weights, scale } of lora) {
      if (op === "load") await pipe.loadLoraWeights(fixture("lora-more", file), { adapterName: adapter });
      else if (op === "set") await pipe.setAdapters(adapters, weights.map(weightOf));
      else await pipe.fuseLora({ scale });
    }
    const { images } =
      pipeline === "sd"
        ? await sd.run({ ...run, image: fixture("ip2p-tiny", "image.png") })
        : await xl.run({ ...run, image: fixture("sdxl-ip2p", "image.png"), height: 32, width: 32 });
    expect((await deviation(images, pictures[`run${i}.images`]!)).absolute, `run ${i}`).toBeLessThan(TOLERANCE);
    images.dispose();
  }
  disposeAll(...Object.values(pictures));
});

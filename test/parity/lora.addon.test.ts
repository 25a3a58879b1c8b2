import { afterAll, beforeAll, expect, test } from "vitest";
import { disposeAll, type Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
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

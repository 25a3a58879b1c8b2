import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type ComponentClassName, type ModelClass, registeredClass } from "../../lib/components/registry.js";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import type { RgbImage } from "../../lib/images/index.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { ControlNetModel } from "../../lib/models/controlnet.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import type { Scheduler } from "../../lib/schedulers/scheduler.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

/** A recorded call of a pipeline of diffusers; `case.json` of a fixture lists several. */
interface RecordedRun {
  class: string;
  model: string;
  /** Components from other folders: class and folder, by name. */
  components?: Record<string, [string, string]>;
  /** Settings of the pipeline. */
  init?: Record<string, unknown>;
  scheduler: string;
  scheduler_config?: Record<string, unknown>;
  unet?: string;
  /** Entries of the UNet's configuration that differ from its file's. */
  unet_config?: Record<string, unknown>;
  vae?: string;
  controlnets?: string[];
  /** Whether one ControlNet is a list. */
  several?: boolean;
  /** Whether the pipeline is made of the scheduler; else it replaces the pipeline's. */
  given?: boolean;
  seed: number | number[];
  args: Record<string, unknown>;
  timesteps?: number[];
  callback?: { after_step: number; tensor: string; mul: number; add: number }[];
}

/** The same in the other shape of `case.json`. */
type OtherRun = Omit<RecordedRun, "class" | "model"> & { pipeline: string; model?: string; output_type: string };

function recordedRun(run: RecordedRun | OtherRun): RecordedRun {
  if ("class" in run) return run;
  const { pipeline, model = "model", output_type, args, ...rest } = run;
  return { ...rest, class: pipeline, model, args: { ...args, output_type } };
}

/** What the replay uses of a pipeline, whatever its options are. */
export interface ReplayedPipeline extends Disposable {
  scheduler: Scheduler;
  unet: UNet2DConditionModel;
  // biome-ignore lint/suspicious/noExplicitAny: the recorded arguments decide
  run(options: any): Promise<{ images: unknown }>;
}

// biome-ignore lint/suspicious/noExplicitAny: each class loads components of its own
export type ReplayedClasses = Record<string, { fromPretrained(folder: string, options?: object): Promise<any> }>;

const TOLERANCE = 1e-4;
/** Of 255, where rounding meets the tolerance. */
const LEVELS = 1.01;
/**
 * How far numbers may be off that are drawn after a run: they show whether it has drawn as many as diffusers, since after one more
 * or fewer they are others altogether. The recordings are from x64; libtorch computes normals by other instructions on arm64,
 * so their last bits differ there.
 */
export const drawsWithin = (onX64: number) => (process.arch === "x64" ? onX64 : 1e-5);
const OUTPUT_TYPES: Record<string, string> = { pt: "tensor", latent: "latent", pil: "image" };
const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** A copy of a model's folder with another configuration. */
async function changed(folder: string, config: Record<string, unknown> | undefined): Promise<string> {
  if (!config) return folder;
  const copy = await mkdtemp(join(tmpdir(), "ip2p-replay-"));
  onTestFinished(() => rm(copy, { recursive: true, force: true }));
  await cp(folder, copy, { recursive: true });
  const file = join(copy, "config.json");
  await writeFile(file, JSON.stringify({ ...readJson<object>(file), ...config }));
  return copy;
}

/** Images as [B,3,H,W], 0..255. */
async function bytesOf(pictures: readonly RgbImage[]): Promise<Tensor> {
  const rows = pictures.map(({ width, height, data }) => {
    const planes = new Float32Array(data.length);
    for (const [i, value] of data.entries()) planes[(i % 3) * width * height + Math.floor(i / 3)] = value;
    return Tensor.from(planes, [1, 3, height, width]);
  });
  return await Tensor.cat(rows, 0);
}

/**
 * Replays every run of a fixture and compares images, latents after each step, timesteps, and what the generators draw
 * afterwards.
 *
 * @param rows for runs whose images and prompts the reference pairs wrongly: the rows that agree
 */
export function replay(name: string, classes: ReplayedClasses, rows: Record<number, number[]> = {}): void {
  const { runs: all } = readJson<{ runs: (RecordedRun | OtherRun)[] }>(fixture(name, "case.json"));
  const runs = all.map(recordedRun);
  let expected: Record<string, Tensor>;
  const pipelines = new Map<string, Promise<ReplayedPipeline>>();
  const given: Disposable[] = [];
  const keep = <T extends Disposable>(part: T): T => {
    given.push(part);
    return part;
  };
  const load = async (run: RecordedRun): Promise<ReplayedPipeline> => {
    const parts: Record<string, unknown> = {};
    for (const [setting, value] of Object.entries(run.init ?? {})) parts[camelCase(setting)] = value;
    for (const [part, [className, folder]] of Object.entries(run.components ?? {})) {
      const entry = registeredClass(className as ComponentClassName) as ModelClass;
      parts[camelCase(part)] = keep(await entry.load(fixture(name, folder), {}));
    }
    if (run.controlnets) {
      const nets: ControlNetModel[] = [];
      for (const net of run.controlnets) nets.push(keep(await ControlNetModel.fromPretrained(fixture(name, net))));
      parts.controlnet = nets.length > 1 || run.several ? nets : nets[0];
    }
    if (run.vae) parts.vae = keep(await AutoencoderKL.fromPretrained(fixture(name, run.vae)));
    if (run.unet || run.unet_config) {
      const folder = await changed(fixture(name, run.unet ?? join(run.model, "unet")), run.unet_config);
      parts.unet = keep(await UNet2DConditionModel.fromPretrained(folder));
    }
    if (run.given) parts.scheduler = keep(schedulerFromClassName(run.scheduler).fromConfig(run.scheduler_config));
    return await classes[run.class]!.fromPretrained(fixture(name, run.model), parts);
  };
  beforeAll(async () => {
    expected = await loadSafetensors(fixture(name, "expected.safetensors"));
  });
  afterAll(async () => {
    for (const pipe of pipelines.values()) (await pipe)[Symbol.dispose]();
    for (const part of given) part[Symbol.dispose]();
  });

  const argument = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(argument);
    if (typeof value === "string" && value.endsWith(".png")) return fixture(name, value);
    if (typeof value === "object" && value !== null && "tensor" in value) return expected[String(value.tensor)];
    if (typeof value === "object" && value !== null && "image" in value) return fixture(name, String(value.image));
    return value;
  };

  const replayed = runs.map((run, i) => ({ i, ...run }));
  test.each(replayed)("run $i: $class, $scheduler", async ({ i, ...run }) => {
    const { class: className, model, unet, unet_config, vae, components, controlnets, several, init } = run;
    const parts = [unet, unet_config, vae, components, controlnets, several, init];
    const key = JSON.stringify([className, model, parts, run.given && run]);
    if (!pipelines.has(key)) pipelines.set(key, load(run));
    const pipe = await pipelines.get(key)!;
    const original = pipe.scheduler;
    if (!run.given)
      pipe.scheduler = schedulerFromClassName(run.scheduler).fromConfig({
        // Recorded with a scheduler made anew, or with the folder's and changes.
        ...(run.given === undefined && original.config),
        ...run.scheduler_config,
      });
    const seeds = [run.seed].flat();
    const generators = seeds.map((seed) => new Generator("cpu", seed));
    const latents: Tensor[] = [];
    const timesteps: number[] = [];
    // biome-ignore lint/suspicious/noExplicitAny: the recorded tensor's name decides
    const onStep = async (progress: any) => {
      timesteps.push(progress.timestep);
      latents.push(await progress.latents.clone());
      const result: Record<string, Tensor> = {};
      for (const change of run.callback ?? []) {
        if (change.after_step !== progress.step) continue;
        const scaled = await (progress[camelCase(change.tensor)] as Tensor).mul(change.mul);
        result[camelCase(change.tensor)] = await scaled.add(change.add);
      }
      return result;
    };
    try {
      const { output_type: outputType, ...rest } = run.args;
      const args: Record<string, unknown> = { outputType: OUTPUT_TYPES[String(outputType)] };
      for (const [option, value] of Object.entries(rest)) args[camelCase(option)] = argument(value);
      const generator = Array.isArray(run.seed) ? generators : generators[0]!;
      const { images } = await pipe.run({ ...args, generator, onStep });
      // Latents out may be latents in of a later run.
      if (run.timesteps) {
        expect(timesteps).toHaveLength(run.timesteps.length);
        for (const [step, timestep] of timesteps.entries()) expect(timestep).toBeCloseTo(run.timesteps[step]!, 3);
      }
      const select = async (tensor: Tensor, dim: number) => {
        const selected = rows[i];
        if (!selected) return tensor;
        return await Tensor.cat(await Promise.all(selected.map((row) => tensor.slice(dim, row, row + 1))), dim);
      };
      const given = outputType === "pil" ? await bytesOf(images as RgbImage[]) : (images as Tensor);
      expect(given.shape).toEqual(expected[`run${i}.images`]!.shape);
      const result = await deviation(await select(given, 0), await select(expected[`run${i}.images`]!, 0));
      // Latents are larger than pixels, so relative to their range.
      if (outputType === "pil") expect(result.absolute).toBeLessThan(LEVELS);
      else expect(outputType === "latent" ? result.relative : result.absolute).toBeLessThan(TOLERANCE);
      const trajectory = await Tensor.cat(await Promise.all(latents.map((x) => x.reshape([1, ...x.shape]))));
      const steps = await deviation(await select(trajectory, 1), await select(expected[`run${i}.latents`]!, 1));
      expect(steps.relative).toBeLessThan(TOLERANCE);
      const drawn = await Promise.all(generators.map((each) => Tensor.randn([16], { generator: each })));
      const next = await Tensor.cat(drawn);
      const rng = expected[`run${i}.rng`];
      if (!rng) return;
      expect((await deviation(next, await rng.reshape(next.shape))).absolute).toBeLessThan(drawsWithin(1e-6));
    } finally {
      pipe.scheduler = original;
    }
  });
}

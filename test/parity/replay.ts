import { afterAll, beforeAll, expect, test } from "vitest";
import { type ComponentClassName, type ModelClass, registeredClass } from "../../lib/components/registry.js";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
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
export type ReplayedClasses = Record<string, { fromPretrained(folder: string, options?: any): Promise<any> }>;

const TOLERANCE = 1e-4;
const OUTPUT_TYPES: Record<string, string> = { pt: "tensor", latent: "latent" };
const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/**
 * Replays every run of a fixture and compares pictures, latents after each step, timesteps, and what the generators draw
 * afterwards.
 *
 * @param rows for runs whose pictures and prompts the reference pairs wrongly: the rows that agree
 * @param without schedulers that are not there yet, whose runs are left out
 */
export function replay(
  name: string,
  classes: ReplayedClasses,
  rows: Record<number, number[]> = {},
  without: readonly string[] = [],
): void {
  const { runs: all } = readJson<{ runs: (RecordedRun | OtherRun)[] }>(fixture(name, "case.json"));
  const runs = all.map(recordedRun);
  let expected: Record<string, Tensor>;
  const pipelines = new Map<string, Promise<ReplayedPipeline>>();
  const load = async ({ class: className, model, unet, components, init }: RecordedRun): Promise<ReplayedPipeline> => {
    const options: Record<string, unknown> = {};
    for (const [setting, value] of Object.entries(init ?? {})) options[camelCase(setting)] = value;
    for (const [part, [partClass, folder]] of Object.entries(components ?? {})) {
      const entry = registeredClass(partClass as ComponentClassName) as ModelClass;
      options[camelCase(part)] = await entry.load(fixture(name, folder), {});
    }
    const pipe = await classes[className]!.fromPretrained(fixture(name, model), options);
    if (unet) {
      pipe.unet.dispose();
      pipe.unet = await UNet2DConditionModel.fromPretrained(fixture(name, unet));
    }
    return pipe;
  };
  beforeAll(async () => {
    expected = await loadSafetensors(fixture(name, "expected.safetensors"));
  });
  afterAll(async () => {
    for (const pipe of pipelines.values()) (await pipe)[Symbol.dispose]();
  });

  const argument = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(argument);
    if (typeof value === "string" && value.endsWith(".png")) return fixture(name, value);
    if (typeof value === "object" && value !== null && "tensor" in value) return expected[String(value.tensor)];
    if (typeof value === "object" && value !== null && "image" in value) return fixture(name, String(value.image));
    return value;
  };

  const replayed = runs.map((run, i) => ({ i, ...run })).filter(({ scheduler }) => !without.includes(scheduler));
  test.each(replayed)("run $i: $class, $scheduler", async ({ i, ...run }) => {
    const key = JSON.stringify([run.class, run.model, run.unet, run.components, run.init]);
    if (!pipelines.has(key)) pipelines.set(key, load(run));
    const pipe = await pipelines.get(key)!;
    const original = pipe.scheduler;
    pipe.scheduler = schedulerFromClassName(run.scheduler).fromConfig({ ...original.config, ...run.scheduler_config });
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
      const result = await deviation(await select(images as Tensor, 0), await select(expected[`run${i}.images`]!, 0));
      // Latents are larger than pixels, so relative to their range.
      expect(outputType === "latent" ? result.relative : result.absolute).toBeLessThan(TOLERANCE);
      const trajectory = await Tensor.cat(await Promise.all(latents.map((x) => x.reshape([1, ...x.shape]))));
      const steps = await deviation(await select(trajectory, 1), await select(expected[`run${i}.latents`]!, 1));
      expect(steps.relative).toBeLessThan(TOLERANCE);
      const drawn = await Promise.all(generators.map((each) => Tensor.randn([16], { generator: each })));
      const next = await Tensor.cat(drawn);
      const rng = expected[`run${i}.rng`];
      if (!rng) return;
      expect((await deviation(next, await rng.reshape(next.shape))).absolute).toBeLessThan(1e-6);
    } finally {
      pipe.scheduler = original;
    }
  });
}

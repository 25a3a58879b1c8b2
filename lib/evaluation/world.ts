import { InstructPix2PixError } from "../core/errors.js";
import { Generator } from "../core/generator.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import type { RgbImage } from "../images/index.js";
import { BUILT_IN_GUIDANCE } from "../models/built-in.js";
import type { EditOptions } from "../pipelines/stable_diffusion/instruct_pix2pix.js";
import { drawScene } from "../world/draw.js";
import { EDIT_FAMILIES, type EditFamily } from "../world/edit.js";
import { worldExample } from "../world/example.js";
import { OTHER_STREAMS, Random } from "../world/random.js";
import { EXTENT } from "../world/scene.js";
import { EditJudge, type EditScore, type ScoreSummary, summariseScores } from "../world/score.js";

/** An edit, ready to be made and judged. */
export interface JudgedExample<Score> {
  index: number;
  instruction: string;
  original: RgbImage;
  target: RgbImage;
  judge: { score(picture: RgbImage): Score };
  /** The seed of the noise that its edit starts from: its own, so that the rest of the batch has no influence. */
  noiseSeed: number;
}

/** An edit of the drawn world. */
export interface WorldExample extends JudgedExample<EditScore> {
  family: EditFamily;
}

/**
 * The first examples of a seed.
 *
 * @param source of the examples: `worldExample`, or `lessonExample`
 * @param size of the images in pixels
 */
export async function* worldExamples(
  seed: number,
  count: number,
  source: typeof worldExample = worldExample,
  size = EXTENT,
): AsyncGenerator<WorldExample> {
  for (let index = 0; index < count; index++) {
    const { scene, edit } = source(seed, index);
    const random = new Random(seed, OTHER_STREAMS + index);
    const noiseSeed = random.int(2 ** 32);
    const [original, target] = await Promise.all([drawScene(scene, size), drawScene(edit.target, size)]);
    const { family, instruction } = edit;
    yield { index, family, instruction, original, target, noiseSeed, judge: new EditJudge(scene, edit, random, size) };
  }
}

/** What makes the images of a list of examples. */
export type ExampleEditor = (examples: readonly JudgedExample<unknown>[]) => Promise<readonly RgbImage[]>;

/** What edits: an InstructPix2Pix pipeline. */
export interface EditRunner {
  run(options: EditOptions): Promise<{ images: RgbImage[] }>;
}

/**
 * Edits examples with a pipeline, all of them in one batch.
 *
 * @param options of the pipeline's `run`: steps and guidance
 */
export function editorOf(pipeline: EditRunner, options: Omit<EditOptions, "image">): ExampleEditor {
  return async (examples) => {
    const { images } = await pipeline.run({
      ...options,
      prompt: examples.map(({ instruction }) => instruction),
      image: examples.map(({ original }) => original),
      generator: examples.map(({ noiseSeed }) => new Generator("cpu", noiseSeed)),
    });
    return images;
  };
}

/** An example, how it was edited, and how well. */
export interface ExampleResult<Score, Example extends JudgedExample<Score>> {
  example: Example;
  picture: RgbImage;
  score: Score;
}

/** The same of the drawn world. */
export type WorldResult = ExampleResult<EditScore, WorldExample>;

/**
 * Edits examples and scores the results.
 *
 * @param batch examples that are edited together
 * @param onProgress gets all results so far after each batch
 */
export async function scoreEdits<Score, Example extends JudgedExample<Score>>(
  examples: Iterable<Example & JudgedExample<Score>> | AsyncIterable<Example & JudgedExample<Score>>,
  edit: ExampleEditor,
  options: { batch: number; onProgress?: ((results: readonly ExampleResult<Score, Example>[]) => void) | undefined },
): Promise<ExampleResult<Score, Example>[]> {
  const { batch, onProgress } = options;
  const results: ExampleResult<Score, Example>[] = [];
  let waiting: Example[] = [];
  const flush = async () => {
    const pictures = await edit(waiting);
    for (const [i, example] of waiting.entries()) {
      const picture = pictures[i]!;
      results.push({ example, picture, score: example.judge.score(picture) });
    }
    waiting = [];
    onProgress?.(results);
  };
  for await (const example of examples) if (waiting.push(example) === batch) await flush();
  if (waiting.length > 0) await flush();
  return results;
}

/** The scores of all results, and of each family that occurs in them. */
export interface WorldSummary extends ScoreSummary {
  families: Partial<Record<EditFamily, ScoreSummary>>;
}

export function summarise(results: readonly WorldResult[]): WorldSummary {
  const summaryOf = (some: readonly WorldResult[]) => summariseScores(some.map(({ score }) => score));
  const families = EDIT_FAMILIES.map(
    (family) => [family, results.filter(({ example }) => example.family === family)] as const,
  );
  const occurring = families.filter(([, some]) => some.length > 0);
  return {
    ...summaryOf(results),
    families: Object.fromEntries(occurring.map(([family, some]) => [family, summaryOf(some)])),
  };
}

/** A share as text. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** The scores as a table for people. */
export function worldTable({ families, ...overall }: WorldSummary): string {
  const row = (name: string, { success, count, outside }: ScoreSummary) =>
    [
      name.padEnd(12),
      percent(success).padStart(8),
      String(count).padStart(7),
      (outside === null ? "–" : outside.toFixed(4)).padStart(9),
    ].join("");
  const lines = Object.entries(families).map(([family, summary]) => row(family, summary));
  const head = "family       success  count  outside";
  const rule = "─".repeat(head.length);
  return [head, rule, ...lines, rule, row("all", overall)].join("\n");
}

/** Options of {@link evaluateWorld}. */
export interface EvaluateWorldOptions {
  /** What edits: a loaded InstructPix2Pix pipeline. It stays the caller's. */
  pipeline: EditRunner;
  /** The seed of the scenes and edits; training on `ip2p make-dataset --world` with another seed never sees them. Default 100. */
  seed?: number | undefined;
  /** Edits. Default 200. */
  count?: number | undefined;
  /** Width and height of the images in pixels. Default 64. */
  size?: number | undefined;
  /** Denoising steps. Default 20. */
  numInferenceSteps?: number | undefined;
  /** How strongly instructions are followed. Default 2, which suits the built-in model. */
  guidanceScale?: number | undefined;
  /** How closely results follow the originals. Default 1.5. */
  imageGuidanceScale?: number | undefined;
  /** Edits that are made together. Default 8. */
  batch?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called after every batch, with the scores so far. */
  onProgress?: ((progress: { done: number; total: number; summary: WorldSummary }) => void) | undefined;
}

const OPTIONS = optionNames<EvaluateWorldOptions>()({
  pipeline: true,
  seed: true,
  count: true,
  size: true,
  numInferenceSteps: true,
  guidanceScale: true,
  imageGuidanceScale: true,
  batch: true,
  signal: true,
  onProgress: true,
});

/** How the built-in model edits best. */
export const WORLD_EDITING = { numInferenceSteps: 20, ...BUILT_IN_GUIDANCE };

/** The largest counts and sizes that make sense. */
const MOST = { count: 1_000_000, batch: 1024, size: 1024, seed: Number.MAX_SAFE_INTEGER };

/**
 * Scores a pipeline on edits of the drawn world. Every instruction there determines its result, so success can be measured: an
 * edit succeeds if the result is nearer to its true target than to the original and to 15 other edits of the same scene.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option, `ERR_ABORTED`, and as the pipeline's `run`
 *
 * @example
 * ```js
 * import { builtInModel, evaluateWorld, InstructPix2PixPipeline } from "instruct-pix2pix";
 *
 * const pipeline = await InstructPix2PixPipeline.fromPretrained(builtInModel);
 * const { success, families } = await evaluateWorld({ pipeline, count: 20 });
 * console.log(success, families.recolour?.success);
 * ```
 */
export async function evaluateWorld(options: EvaluateWorldOptions): Promise<WorldSummary> {
  const { pipeline, signal, onProgress, ...given } = checkOptions(options, OPTIONS) as EvaluateWorldOptions;
  if (typeof pipeline?.run !== "function")
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "pipeline must be a loaded InstructPix2Pix pipeline");
  const { seed = 100, count = 200, size = EXTENT, batch = 8, ...guidance } = given;
  for (const [name, value] of Object.entries({ seed, count, size, batch })) {
    const [least, most] = [name === "seed" ? 0 : 1, MOST[name as keyof typeof MOST]];
    if (!Number.isSafeInteger(value) || value < least || value > most)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${name} is a whole number from ${least} to ${most}, not ${value}`,
      );
  }
  const known = Object.fromEntries(Object.entries(guidance).filter(([, value]) => value !== undefined));
  const results = await scoreEdits(
    worldExamples(seed, count, worldExample, size),
    editorOf(pipeline, { ...WORLD_EDITING, ...known, signal }),
    { batch, onProgress: (some) => onProgress?.({ done: some.length, total: count, summary: summarise(some) }) },
  );
  return summarise(results);
}

import { join } from "node:path";
import { resolveDevice } from "../core/device.js";
import { resolveDType } from "../core/dtype.js";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import { writeFileAtomically } from "../images/write-file.js";
import { Clip, findClip } from "./clip.js";
import { featuresOf, measureEdit, type PairFeatures } from "./measure.js";
import { edited, findModel, resolutionOf } from "./model.js";
import {
  type CheckedOptions,
  checkedOptions,
  type EvaluateOptions,
  type InstructionEditor,
  type SkippedPair,
} from "./options.js";
import { type CaptionedPair, CaptionedPairs } from "./pairs.js";
import { drawCurve, rasterise } from "./plot.js";
import { type EditMetrics, type EvaluationPoint, METRICS, pointOf } from "./points.js";
import { type Entry, ResultsFile } from "./results-file.js";

/** What an evaluation has found. */
export interface EvaluationResult {
  /** The points in the order of the image guidance scales. */
  points: EvaluationPoint[];
  /** Pairs that were evaluated. */
  rows: number;
  /** Pairs that cannot be. */
  skipped: SkippedPair[];
  /** The files written. */
  files: { results: string; summary: string; svg: string; png: string };
}

/**
 * Measures how well a model edits pairs of images with captions, over image guidance scales, as the InstructPix2Pix paper does
 * (Brooks et al. 2023, https://arxiv.org/abs/2211.09800, section 4.2): the CLIP similarity of original and result against that of
 * the change of the images and the change of the captions; and with MagicBrush's measures beside the true edits (Zhang et al.
 * 2023, https://arxiv.org/abs/2306.10012): L1, L2, CLIP-I and CLIP-T.
 *
 * Each edit is a line of `results.jsonl`, written as soon as it is known. A run that was stopped goes on behind the last one, and
 * ends with the same files. Pairs that cannot be read are skipped, and listed.
 *
 * @throws before a model is loaded: `ERR_INVALID_ARGUMENT` naming the option, also for an output folder with another evaluation;
 *   `ERR_FILE_NOT_FOUND`, `ERR_DATASET` for pairs without captions, `ERR_CONFIG`, `ERR_TOKENIZER`, `ERR_HUB`; later as
 *   `fromPretrained` and `run`, and `ERR_DATASET` if no pair can be used
 *
 * @example
 * ```js
 * import { evaluate } from "instruct-pix2pix";
 *
 * const { points } = await evaluate({ model: "./my-model", from: "./pairs", output: "./evaluation", clip: "./clip", count: 2 });
 * for (const { imageGuidanceScale, sim_image, sim_direction } of points)
 *   console.log(imageGuidanceScale, sim_image, sim_direction);
 * ```
 */
export async function evaluate(options: EvaluateOptions): Promise<EvaluationResult> {
  const checked = checkedOptions(options);
  const { signal, cacheDir, localFilesOnly } = checked;
  throwIfAborted(signal);
  await using pairs = await CaptionedPairs.open(checked);
  const loadModel = await findModel(checked);
  const hub = { ...(cacheDir && { cacheDir }), ...(localFilesOnly && { localFilesOnly }), ...(signal && { signal }) };
  const parts = await findClip(checked.clip, hub);
  const places = checked.imageGuidanceScales.flatMap((scale) => pairs.rows.map((row) => ({ scale, row })));
  const results = await ResultsFile.open(checked.output, headOf(checked, pairs), (entry, place) =>
    isEntryOf(entry, places[place]),
  );
  let entries: readonly Entry[];
  try {
    const run = new Run(checked, pairs, results, places);
    entries = results.found.length === places.length ? results.found : await run.all(loadModel, parts);
  } finally {
    await results.close();
  }
  return await finished(checked, entries, results.path);
}

/** The first line of the results: what the others depend on. */
function headOf(options: CheckedOptions, pairs: CaptionedPairs): Entry {
  const { model, clip, imageGuidanceScales, guidanceScale, numInferenceSteps, resolution, seed, asOriginal } = options;
  const { scheduler, quantization = "none", revision, variant, device = "auto" } = options;
  const dtype = resolveDType(options.dtype ?? "float32", resolveDevice(device));
  return {
    evaluation: 1,
    ...{ model: typeof model === "string" ? model : model.className, clip },
    ...{ pairs: pairs.fingerprint, count: pairs.rows.length, captions: captionColumns(options) },
    ...{ image_guidance_scales: imageGuidanceScales, guidance_scale: guidanceScale },
    ...{ num_inference_steps: numInferenceSteps, resolution: resolution ?? null, seed, as_original: asOriginal },
    ...{ scheduler: scheduler ?? null, dtype, quantization, revision: revision ?? null, variant: variant ?? null },
  };
}

function captionColumns({ originalCaptionColumn, editedCaptionColumn }: CheckedOptions): string[] {
  return [originalCaptionColumn, editedCaptionColumn];
}

interface Place {
  scale: number;
  row: number;
}

function isEntryOf(entry: Entry, place: Place | undefined): boolean {
  if (!place || entry.image_guidance_scale !== place.scale || entry.row !== place.row) return false;
  return typeof entry.skipped === "string" || METRICS.every((metric) => typeof entry[metric] === "number");
}

/** The edits that are still to be made. */
class Run {
  readonly #options: CheckedOptions;
  readonly #pairs: CaptionedPairs;
  readonly #results: ResultsFile;
  readonly #places: readonly Place[];
  /** About 12 KB for each pair. */
  readonly #known = new Map<number, PairFeatures>();

  constructor(options: CheckedOptions, pairs: CaptionedPairs, results: ResultsFile, places: readonly Place[]) {
    this.#options = options;
    this.#pairs = pairs;
    this.#results = results;
    this.#places = places;
  }

  async all(
    loadModel: () => Promise<InstructionEditor>,
    parts: Awaited<ReturnType<typeof findClip>>,
  ): Promise<readonly Entry[]> {
    const { model, signal, onProgress, onSkip } = this.#options;
    using scope = new Scope();
    const given = typeof model !== "string";
    const device = given ? model.unet.device : resolveDevice(this.#options.device ?? "auto");
    const clip = scope.add(await Clip.load(parts, { device, signal }));
    const pipeline = await loadModel();
    if (!given) scope.add(pipeline);
    const resolution = resolutionOf(pipeline, this.#options.resolution);
    const entries = [...this.#results.found];
    const total = this.#places.length;
    for (const { scale, row } of this.#places.slice(entries.length)) {
      throwIfAborted(signal);
      const where = this.#pairs.where(row);
      const pair = await this.#pairs.read(row, signal);
      const head = { image_guidance_scale: scale, row, where };
      const entry =
        "reason" in pair
          ? { ...head, skipped: pair.reason }
          : { ...head, ...(await this.#measure(pair, { scale, row }, { clip, pipeline, resolution })) };
      if ("reason" in pair && scale === this.#options.imageGuidanceScales[0]) onSkip?.(pair);
      await this.#results.add(entry);
      entries.push(entry);
      onProgress?.({ done: entries.length, total });
    }
    return entries;
  }

  async #measure(
    { original, target, prompt, captions }: CaptionedPair,
    { scale, row }: Place,
    { clip, pipeline, resolution }: { clip: Clip; pipeline: InstructionEditor; resolution: number },
  ): Promise<EditMetrics> {
    const { guidanceScale, numInferenceSteps, seed, asOriginal, signal } = this.#options;
    const image = await original.resize(resolution, resolution, "lanczos");
    const call = { image, prompt, imageGuidanceScale: scale, guidanceScale, numInferenceSteps, signal };
    const result = await edited(pipeline, { ...call, seed: seed + row });
    const measure = { clip, asOriginal, signal };
    const known = this.#known.get(row) ?? (await featuresOf({ original: image, target, captions }, measure));
    this.#known.set(row, known);
    return await measureEdit(result, { target, known }, measure);
  }
}

/** Writes what all the edits come to. */
async function finished(
  { imageGuidanceScales, guidanceScale, output }: CheckedOptions,
  entries: readonly Entry[],
  results: string,
): Promise<EvaluationResult> {
  const ofScale = (scale: number) => entries.filter((entry) => entry.image_guidance_scale === scale);
  const usable = (entry: Entry) => entry.skipped === undefined;
  const first = ofScale(imageGuidanceScales[0]!);
  const skipped = first
    .filter((entry) => !usable(entry))
    .map(({ row, where, skipped }) => ({
      row: Number(row),
      where: String(where),
      reason: String(skipped),
    }));
  if (skipped.length === first.length)
    throw new InstructPix2PixError(
      "ERR_DATASET",
      `no pair can be evaluated: ${skipped[0]!.where}: ${skipped[0]!.reason}`,
    );
  const points = imageGuidanceScales.map((scale) =>
    pointOf(scale, ofScale(scale).filter(usable) as unknown as EditMetrics[]),
  );
  const files = {
    ...{ results, summary: join(output, "summary.json") },
    ...{ svg: join(output, "curve.svg"), png: join(output, "curve.png") },
  };
  const rows = first.length - skipped.length;
  const svg = drawCurve(points, guidanceScale);
  await writeFileAtomically(files.svg, svg);
  await writeFileAtomically(files.png, await rasterise(svg));
  await writeFileAtomically(files.summary, Buffer.from(`${JSON.stringify({ points, rows, skipped }, null, 1)}\n`));
  return { points, rows, skipped, files };
}

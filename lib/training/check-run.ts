import { InstructPix2PixError } from "../core/errors.js";
import { rowsByBucket } from "../data/buckets.js";
import type { Callbacks } from "./callbacks.js";
import type { TrainResult } from "./events.js";
import { loaderOf, type PreparedRun } from "./prepare.js";

/**
 * Reads everything that a prepared run would read, and trains nothing: every image is decoded, every instruction taken apart into
 * tokens. Rows that would be skipped are told as warnings.
 *
 * @throws `ERR_DATASET` if no row can be used, and with `strict` for the first that cannot; `ERR_TOKENIZER`, `ERR_ABORTED`
 */
export async function checkRun(
  run: PreparedRun,
  callbacks: Callbacks,
  signal: AbortSignal | undefined,
): Promise<TrainResult> {
  const { options, dataset, models, resumed } = run;
  const loader = loaderOf(run, (event) => callbacks.event(event), signal);
  const total = dataset.length;
  let usable = 0;
  let done = 0;
  for await (const { request, prompts } of loader.prefetched(batchesInOrder(run, options.trainBatchSize))) {
    for (const prompt of prompts) await models.checkPrompt(prompt);
    usable += prompts.length;
    done += request.rows.length;
    callbacks.tell({ type: "checking", done, total });
  }
  if (usable === 0) throw new InstructPix2PixError("ERR_DATASET", `none of the ${total} rows can be used`);
  return {
    outputDir: options.outputDir,
    step: resumed?.step ?? 0,
    trainLoss: undefined,
    seed: options.seed,
    skippedRows: loader.skippedRows,
    stopped: false,
  };
}

/** All rows, bucket by bucket. */
function* batchesInOrder({ dataset, buckets }: PreparedRun, size: number): Generator<{ rows: number[] }> {
  for (const rows of buckets ? rowsByBucket(buckets) : [Array.from({ length: dataset.length }, (_, row) => row)])
    for (let first = 0; first < rows.length; first += size) yield { rows: rows.slice(first, first + size) };
}

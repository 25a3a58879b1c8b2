import { InstructPix2PixError } from "../core/errors.js";
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
  for await (const { request, prompts } of loader.prefetched(batches(total, options.trainBatchSize))) {
    for (const prompt of prompts) await models.checkPrompt(prompt);
    usable += prompts.length;
    callbacks.tell({ type: "checking", done: request.rows.at(-1)! + 1, total });
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

function* batches(total: number, size: number): Generator<{ rows: number[] }> {
  for (let first = 0; first < total; first += size)
    yield { rows: Array.from({ length: Math.min(size, total - first) }, (_, i) => first + i) };
}

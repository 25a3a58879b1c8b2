import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { InstructPix2PixError } from "../core/errors.js";
import { errnoOf, ioError } from "../files/io-error.js";
import { checkMetricsFile, METRICS_FILE } from "../tracking/metrics-file.js";
import type { StepRecord } from "./events.js";

/**
 * The records of a run's steps so far, from the `metrics.jsonl` in its output folder; also while it runs. A line that a
 * killed process left unfinished is passed over.
 *
 * @param outputDir the run's output folder
 * @returns lowest step first; NaN for numbers that were not finite
 * @throws `ERR_FILE_NOT_FOUND` if there is no such file, `ERR_IO`
 *
 * @example
 * ```js
 * import { readMetrics } from "instruct-pix2pix";
 *
 * const records = await readMetrics("./long-run");
 * console.log(records.length, records.at(-1)?.trainLoss);
 * ```
 */
export async function readMetrics(outputDir: string): Promise<StepRecord[]> {
  if (typeof outputDir !== "string" || outputDir === "")
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "outputDir must be the path of a run's output folder");
  const path = join(outputDir, METRICS_FILE);
  await checkMetricsFile(outputDir);
  const records: StepRecord[] = [];
  try {
    await stat(path);
    for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
      const record = recordOf(line);
      if (record && record.step > (records.at(-1)?.step ?? 0)) records.push(record);
    }
  } catch (error) {
    if (errnoOf(error) === "ENOENT")
      throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `${path}: no such file; no run has written to this folder`, {
        cause: error,
      });
    throw ioError("read", path, error);
  }
  return records;
}

function recordOf(line: string): StepRecord | undefined {
  let values: Record<string, unknown>;
  try {
    values = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  if (!Number.isSafeInteger(values?.step)) return undefined;
  const number = (name: string) => (typeof values[name] === "number" ? values[name] : Number.NaN);
  const peak = values.peak_device_memory_bytes;
  return {
    step: values.step as number,
    trainLoss: number("train_loss"),
    lr: number("lr"),
    gradNorm: number("grad_norm"),
    seconds: number("seconds"),
    dataSeconds: number("data_seconds"),
    samplesPerSecond: number("samples_per_second"),
    peakMemoryBytes: number("peak_memory_bytes"),
    ...(typeof peak === "number" && { peakDeviceMemoryBytes: peak }),
    epoch: number("epoch"),
    skipped: values.skipped === true,
  };
}

import { randomBytes } from "node:crypto";
import { createReadStream, type Stats } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { errnoOf, ioError } from "../files/io-error.js";
import { readFully } from "../files/whole-io.js";
import { keepLines, type Line } from "./metrics-lines.js";
import type { TrackedValues, Tracker } from "./tracker.js";

/** Its name in the output folder. */
export const METRICS_FILE = "metrics.jsonl";

/**
 * Refuses an output folder whose `metrics.jsonl` exists but is not a regular file or a link to one: a pipe or a device
 * could be read forever.
 *
 * @throws `ERR_IO` naming the file
 */
export async function checkMetricsFile(outputDir: string): Promise<void> {
  const path = join(outputDir, METRICS_FILE);
  let info: Stats;
  try {
    info = await stat(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return;
    throw ioError("open", path, error);
  }
  if (!info.isFile())
    throw new InstructPix2PixError("ERR_IO", `cannot open "${path}": it is ${kindOf(info)}, not a regular file`);
}

function kindOf(info: Stats): string {
  if (info.isDirectory()) return "a folder";
  if (info.isFIFO()) return "a named pipe";
  if (info.isSocket()) return "a socket";
  return "a device";
}

/**
 * `metrics.jsonl`: one JSON object per optimizer step, `step` first, in the order of steps. Every line is appended by a
 * single write, so that a killed process leaves at most a broken last line, which is cut off by the next run.
 *
 * {@link flush} syncs lines to the disk when a checkpoint is written; later lines lost in a power failure are rewritten
 * by the resumed run. Numbers that are not finite become null.
 */
export class MetricsFile implements Tracker {
  readonly name = "metrics";
  readonly path: string;
  readonly #resumeStep: number;
  #file: FileHandle | undefined;
  /** Offset of the next line; bytes after it are from a failed write. */
  #size = 0;
  #lastStep = 0;

  /**
   * @param outputDir the run's output folder
   * @param resumeStep the optimizer steps of the checkpoint that the run resumes from, 0 for a new run: lines of later
   * steps are removed, since the run writes them again
   */
  constructor(outputDir: string, resumeStep: number) {
    this.path = join(outputDir, METRICS_FILE);
    this.#resumeStep = resumeStep;
  }

  /** @throws `ERR_IO` if the file cannot be read, repaired or written to; it is then unchanged */
  async init(): Promise<void> {
    try {
      await mkdir(dirname(this.path), { recursive: true });
      await checkMetricsFile(dirname(this.path));
      const { kept, isPrefix, size } = await this.#scan();
      const end = kept.at(-1);
      if (!isPrefix) await this.#rewrite(kept);
      this.#file = await open(this.path, "a");
      this.#size = isPrefix ? (end?.end ?? 0) : kept.reduce((sum, { start, end }) => sum + end - start, 0);
      this.#lastStep = Math.max(this.#resumeStep, end?.step ?? 0);
      if (isPrefix && size > this.#size) {
        await this.#file.truncate(this.#size);
        await this.#file.sync();
      }
    } catch (error) {
      throw ioError("open", this.path, error);
    }
  }

  /**
   * Appends one line.
   *
   * @throws `ERR_IO` if it cannot be written; the file then ends with the line before
   */
  async log(values: TrackedValues, step: number): Promise<void> {
    const file = this.#opened();
    if (!(Number.isSafeInteger(step) && step > this.#lastStep))
      throw new InstructPix2PixError(
        "ERR_INTERNAL",
        `${this.path}: step ${step} cannot be logged after step ${this.#lastStep}`,
      );
    const { step: _, ...rest } = values;
    const line = Buffer.from(`${JSON.stringify({ step, ...rest })}\n`);
    try {
      const { bytesWritten } = await file.write(line);
      // A write may be partial on a nearly full disk; the next one fails with the reason.
      if (bytesWritten < line.length) await file.writeFile(line.subarray(bytesWritten));
    } catch (error) {
      await file.truncate(this.#size).catch(() => {});
      throw ioError("write", this.path, error);
    }
    this.#size += line.length;
    this.#lastStep = step;
  }

  /** Images are not logged here. */
  async images(): Promise<void> {}

  /** @throws `ERR_IO` */
  async flush(): Promise<void> {
    try {
      await this.#file?.sync();
    } catch (error) {
      throw ioError("write", this.path, error);
    }
  }

  state(): undefined {
    return undefined;
  }

  /** @throws `ERR_IO` */
  async finish(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#file?.close();
      this.#file = undefined;
    }
  }

  #opened(): FileHandle {
    if (this.#file) return this.#file;
    throw new InstructPix2PixError("ERR_INTERNAL", `${this.path}: is not open`);
  }

  async #scan(): Promise<{ kept: Line[]; isPrefix: boolean; size: number }> {
    try {
      return await keepLines(createReadStream(this.path), this.#resumeStep);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return { kept: [], isPrefix: true, size: 0 };
      throw error;
    }
  }

  /** Atomically rewrites the file with only these of its lines. */
  async #rewrite(kept: readonly Line[]): Promise<void> {
    const temporary = join(dirname(this.path), `.${basename(this.path)}.${randomBytes(6).toString("hex")}.tmp`);
    try {
      const [source, target] = [await open(this.path, "r"), await open(temporary, "wx")];
      try {
        for (const { start, end } of kept) {
          const line = Buffer.allocUnsafe(end - start);
          await readFully(source, line, start, this.path);
          await target.writeFile(line);
        }
        await target.sync();
      } finally {
        await source.close();
        await target.close();
      }
      await rename(temporary, this.path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }
}

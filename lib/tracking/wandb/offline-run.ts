import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ioError } from "../../files/io-error.js";
import { packageVersion } from "../../runtime/package-version.js";
import type { TrackedConfig } from "../tracker.js";
import {
  exitRecord,
  headerRecord,
  historyRecord,
  mediaFileRecord,
  numbered,
  runRecord,
  summaryRecord,
} from "./records.js";
import type { Row, RunSink } from "./run-sink.js";
import type { WandbSettings } from "./settings.js";
import { TransactionLog } from "./transaction-log.js";

/** A run of `WANDB_MODE=offline`, in the folder layout of W&B's own clients, for `wandb sync`. */
export class OfflineRun implements RunSink {
  readonly folder: string;
  readonly #log: TransactionLog;
  readonly #started = Date.now();
  #records = 0;

  private constructor(folder: string, log: TransactionLog) {
    this.folder = folder;
    this.#log = log;
  }

  /**
   * @param folder the parent of W&B's folder
   * @throws `ERR_IO`
   */
  static async create(folder: string, settings: WandbSettings, config: TrackedConfig): Promise<OfflineRun> {
    const now = new Date();
    const stamp = now
      .toISOString()
      .replace(/[-:]|\..*/g, "")
      .replace("T", "_");
    const path = join(folder, "wandb", `offline-run-${stamp}-${settings.runId}`);
    try {
      await mkdir(join(path, "files"), { recursive: true });
      const run = new OfflineRun(path, await TransactionLog.create(join(path, `run-${settings.runId}.wandb`)));
      await run.#write(
        headerRecord(`instruct-pix2pix ${packageVersion()}`),
        runRecord(settings, config, now.getTime()),
      );
      return run;
    } catch (error) {
      throw ioError("write to", path, error);
    }
  }

  /** @throws `ERR_IO` */
  async send({ step, values }: Row): Promise<void> {
    await this.#write(summaryRecord(values), historyRecord(step, values));
  }

  /** @throws `ERR_IO` */
  async upload(name: string, content: Uint8Array): Promise<void> {
    const path = join(this.folder, "files", name);
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
    } catch (error) {
      throw ioError("write", path, error);
    }
    await this.#write(mediaFileRecord(name));
  }

  /** @throws `ERR_IO` */
  async finish(exitCode: number): Promise<{ rows: number; files: number }> {
    try {
      await this.#write(exitRecord(exitCode, (Date.now() - this.#started) / 1000));
    } finally {
      await this.#log.close();
    }
    return { rows: 0, files: 0 };
  }

  async #write(...records: Uint8Array[]): Promise<void> {
    try {
      await this.#log.write(records.map((record, i) => numbered(this.#records + 1 + i, record)));
    } catch (error) {
      throw ioError("write to", this.folder, error);
    }
    this.#records += records.length;
  }
}

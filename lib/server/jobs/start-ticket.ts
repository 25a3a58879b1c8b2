import { readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { processStart } from "../../files/process-start.js";
import type { TrainingProcess } from "./job.js";

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === "ENOENT";
/** How a ticket is called once a process has taken it: with its number and its start. */
const TAKEN = /\.taken-(\d+)-(\d+)$/;

/**
 * The leave to begin an attempt at training: a file in the job's folder. A server may be killed after it has started a process
 * and before it has noted which one. So a process begins by taking its ticket: it renames the file to a name that holds its
 * own identity, which only one can do. The next server finds that name, or removes the ticket, and then the process
 * that comes late ends at once. So there is never a process that trains and that nobody knows of.
 */
export class StartTicket {
  readonly #folder: string;
  readonly #name: string;

  /** @param folder the job's */
  constructor(folder: string, attempt: number) {
    this.#folder = folder;
    this.#name = `start-${attempt}`;
  }

  get path(): string {
    return join(this.#folder, this.#name);
  }

  async issue(): Promise<void> {
    await writeFile(this.path, "");
  }

  /** Done by the process that was started. @returns false if the attempt was given up meanwhile */
  static async take(path: string): Promise<boolean> {
    const started = Math.round((await processStart(process.pid)) ?? 0);
    return await rename(path, `${path}.taken-${process.pid}-${started}`).then(
      () => true,
      (error) => {
        if (isMissing(error)) return false;
        throw error;
      },
    );
  }

  /** Gives the attempt up, unless a process has begun it. @returns that process */
  async settle(): Promise<TrainingProcess | undefined> {
    await rm(this.path, { force: true });
    for (const name of await readdir(this.#folder)) {
      const [, pid, started] = (name.startsWith(`${this.#name}.`) && TAKEN.exec(name)) || [];
      if (pid !== undefined) return { pid: Number(pid), started: Number(started) || undefined };
    }
    return undefined;
  }
}

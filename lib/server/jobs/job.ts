import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../../images/write-file.js";

/** What a job does. */
export type JobType = "edit" | "generate" | "train";

export type JobState = "queued" | "running" | "succeeded" | "failed" | "cancelled";

/** A process that trains. */
export interface TrainingProcess {
  pid: number;
  /** Milliseconds since 1970; undefined where the system does not tell. */
  started: number | undefined;
}

/** What is kept of a job on disk. */
export interface JobRecord {
  id: string;
  type: JobType;
  /** Whom it belongs to. */
  client: string;
  state: JobState;
  /** Seconds since 1970. */
  created: number;
  started?: number;
  finished?: number;
  /** Fields of the request, without images. */
  fields: Record<string, unknown>;
  /** Files beside the record that hold its images. */
  inputs: { image?: string; mask?: string };
  /** Files beside the record with its results. */
  results: string[];
  seed?: number;
  error?: { code: string; message: string };
  /** How often it was begun. */
  attempts: number;
  /** Undefined of training that runs: it was being started. */
  process?: TrainingProcess;
  /** Its end was asked for. */
  cancelling?: boolean;
}

export const isOver = ({ state }: Pick<JobRecord, "state">): boolean => state !== "queued" && state !== "running";

const RECORD = "job.json";
const ID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

/** Jobs as folders: each has a record that is replaced as a whole, so that a crash leaves the state before or after. */
export class JobFolder {
  readonly path: string;
  /** Jobs whose record is being written. */
  readonly #saving = new Map<string, Promise<void>>();

  constructor(path: string) {
    this.path = path;
  }

  /** The folder of a job. Its id was made here or checked. */
  of(id: string, ...names: string[]): string {
    if (!ID.test(id)) throw new TypeError("no id of a job");
    return join(this.path, id, ...names);
  }

  newId(): string {
    return randomUUID();
  }

  async create(record: JobRecord, files: Readonly<Record<string, Uint8Array>>): Promise<void> {
    await mkdir(this.of(record.id), { recursive: true });
    for (const [name, bytes] of Object.entries(files)) await writeFileAtomically(this.of(record.id, name), bytes);
    // Without a record, it never was.
    await this.save(record);
  }

  /** One at a time, so that of two states the later one stays. */
  async save(record: JobRecord): Promise<void> {
    const before = this.#saving.get(record.id) ?? Promise.resolve();
    const write = () =>
      writeFileAtomically(this.of(record.id, RECORD), Buffer.from(`${JSON.stringify(record, null, 1)}\n`));
    const saved = before.then(write, write);
    this.#saving.set(record.id, saved);
    try {
      await saved;
    } finally {
      if (this.#saving.get(record.id) === saved) this.#saving.delete(record.id);
    }
  }

  /** All records, the oldest first. Folders without a readable one are left alone. */
  async list(): Promise<JobRecord[]> {
    await mkdir(this.path, { recursive: true });
    const records: JobRecord[] = [];
    for (const name of await readdir(this.path)) {
      if (!ID.test(name)) continue;
      const text = await readFile(this.of(name, RECORD), "utf8").catch(() => undefined);
      if (text !== undefined) records.push(JSON.parse(text) as JobRecord);
    }
    return records.sort((a, b) => a.created - b.created);
  }

  async remove(id: string): Promise<void> {
    await rm(this.of(id), { recursive: true, force: true });
  }
}

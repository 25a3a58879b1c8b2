/** An image to upload. */
export interface OutgoingFile {
  /** The path in the run's files, e.g. `media/images/validation_100_….png`. */
  readonly name: string;
  readonly content: Uint8Array;
}

/** A row of the run's history, as JSON. */
export interface OutgoingRow {
  readonly step: number;
  readonly json: string;
}

/** Limit on rows kept while the server is unreachable: a few hundred thousand steps. */
const MAX_ROW_BYTES = 32 << 20;
const MAX_FILE_BYTES = 128 << 20;
/** Well below the server's limit for a request. */
const MAX_BATCH_BYTES = 4 << 20;

/**
 * A bounded queue of unsent data, so that a run does not run out of memory while a server is unreachable: the oldest
 * entries are dropped, and counted. Taken entries are no longer in it until they are put back.
 */
export class Outbox {
  #rows: OutgoingRow[] = [];
  #files: OutgoingFile[] = [];
  #rowBytes = 0;
  #fileBytes = 0;
  /** Rows that will never be sent. */
  droppedRows = 0;
  /** Files that will never be sent. */
  droppedFiles = 0;

  get isEmpty(): boolean {
    return this.#rows.length === 0 && this.#files.length === 0;
  }

  addRow(row: OutgoingRow): void {
    this.#rows.push(row);
    this.#rowBytes += row.json.length;
    this.#dropExcess();
  }

  addFile(file: OutgoingFile): void {
    this.#files.push(file);
    this.#fileBytes += file.content.length;
    this.#dropExcess();
  }

  /** Takes the oldest rows for one request, at least one if there is any. */
  takeRows(): OutgoingRow[] {
    let bytes = 0;
    const end = this.#rows.findIndex((row, i) => (bytes += row.json.length) > MAX_BATCH_BYTES && i > 0);
    const taken = this.#rows.splice(0, end < 0 ? this.#rows.length : end);
    for (const row of taken) this.#rowBytes -= row.json.length;
    return taken;
  }

  putBackRows(rows: readonly OutgoingRow[]): void {
    this.#rows = [...rows, ...this.#rows];
    for (const row of rows) this.#rowBytes += row.json.length;
    this.#dropExcess();
  }

  /** Removes rows that the server has. */
  forgetThrough(step: number): void {
    this.putBackRows(this.#takeAll().filter((row) => row.step > step));
  }

  /** Takes the oldest file. */
  takeFile(): OutgoingFile | undefined {
    const file = this.#files.shift();
    this.#fileBytes -= file?.content.length ?? 0;
    return file;
  }

  putBackFile(file: OutgoingFile): void {
    this.#files.unshift(file);
    this.#fileBytes += file.content.length;
    this.#dropExcess();
  }

  /** Drops everything. */
  clear(): void {
    this.droppedRows += this.#rows.length;
    this.droppedFiles += this.#files.length;
    this.#rows = [];
    this.#files = [];
    this.#rowBytes = 0;
    this.#fileBytes = 0;
  }

  #takeAll(): OutgoingRow[] {
    const taken = this.#rows;
    this.#rows = [];
    this.#rowBytes = 0;
    return taken;
  }

  #dropExcess(): void {
    let rows = 0;
    for (; this.#rowBytes > MAX_ROW_BYTES; rows++) this.#rowBytes -= this.#rows[rows]!.json.length;
    this.#rows.splice(0, rows);
    this.droppedRows += rows;
    let files = 0;
    for (; this.#fileBytes > MAX_FILE_BYTES; files++) this.#fileBytes -= this.#files[files]!.content.length;
    this.#files.splice(0, files);
    this.droppedFiles += files;
  }
}

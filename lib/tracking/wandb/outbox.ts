/** A picture on its way to the server. */
export interface OutgoingFile {
  /** In the run's files, e.g. `media/images/validation_100_….png`. */
  readonly name: string;
  readonly content: Uint8Array;
}

/** A line of the run's history. */
export interface OutgoingLine {
  readonly step: number;
  readonly json: string;
}

/** Of lines, what is kept while the server cannot be reached: those of some hundred thousand steps. */
const MAX_LINE_BYTES = 32 << 20;
const MAX_FILE_BYTES = 128 << 20;
/** A single request is kept well below what the server takes. */
const MAX_BATCH_BYTES = 4 << 20;

/**
 * What has not been sent yet. It is bounded, since a run must not run out of memory because a server is away: the oldest
 * goes first, and is counted. What was taken out is no longer in it until it is put back.
 */
export class Outbox {
  #lines: OutgoingLine[] = [];
  #files: OutgoingFile[] = [];
  #lineBytes = 0;
  #fileBytes = 0;
  /** Lines that will never be sent. */
  droppedLines = 0;
  /** Files that will never be sent. */
  droppedFiles = 0;

  get isEmpty(): boolean {
    return this.#lines.length === 0 && this.#files.length === 0;
  }

  addLine(line: OutgoingLine): void {
    this.#lines.push(line);
    this.#lineBytes += line.json.length;
    this.#dropExcess();
  }

  addFile(file: OutgoingFile): void {
    this.#files.push(file);
    this.#fileBytes += file.content.length;
    this.#dropExcess();
  }

  /** Takes out the oldest lines, as many as one request should have, at least one if there is any. */
  takeLines(): OutgoingLine[] {
    let bytes = 0;
    const end = this.#lines.findIndex((line, i) => (bytes += line.json.length) > MAX_BATCH_BYTES && i > 0);
    const taken = this.#lines.splice(0, end < 0 ? this.#lines.length : end);
    for (const line of taken) this.#lineBytes -= line.json.length;
    return taken;
  }

  putBackLines(lines: readonly OutgoingLine[]): void {
    this.#lines = [...lines, ...this.#lines];
    for (const line of lines) this.#lineBytes += line.json.length;
    this.#dropExcess();
  }

  /** Forgets lines that the server has. */
  forgetThrough(step: number): void {
    this.putBackLines(this.#takeAll().filter((line) => line.step > step));
  }

  /** Takes out the oldest file. */
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

  /** Gives up on everything. */
  clear(): void {
    this.droppedLines += this.#lines.length;
    this.droppedFiles += this.#files.length;
    this.#lines = [];
    this.#files = [];
    this.#lineBytes = 0;
    this.#fileBytes = 0;
  }

  #takeAll(): OutgoingLine[] {
    const taken = this.#lines;
    this.#lines = [];
    this.#lineBytes = 0;
    return taken;
  }

  #dropExcess(): void {
    let lines = 0;
    for (; this.#lineBytes > MAX_LINE_BYTES; lines++) this.#lineBytes -= this.#lines[lines]!.json.length;
    this.#lines.splice(0, lines);
    this.droppedLines += lines;
    let files = 0;
    for (; this.#fileBytes > MAX_FILE_BYTES; files++) this.#fileBytes -= this.#files[files]!.content.length;
    this.#files.splice(0, files);
    this.droppedFiles += files;
  }
}

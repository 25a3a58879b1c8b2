/** A line to keep: its step and byte range, line feed included. */
export interface Line {
  readonly step: number;
  /** Bytes from the start of the file. */
  readonly start: number;
  readonly end: number;
}

/** Lines of metrics have a few hundred bytes; longer ones are invalid. */
const MAX_LINE_BYTES = 1 << 20;
const LINE_FEED = 0x0a;

/**
 * Finds the lines of a metrics file to keep: complete JSON objects whose `step` is above that of the line before and at
 * most `lastStep`. The rest is a broken end (killed process, power failure), or was written after the checkpoint that
 * the run resumes from.
 *
 * @returns the lines; whether they are contiguous from the start of the file; and its size in bytes
 */
export async function keepLines(
  chunks: AsyncIterable<Buffer>,
  lastStep: number,
): Promise<{ kept: Line[]; isPrefix: boolean; size: number }> {
  const kept: Line[] = [];
  let isPrefix = true;
  let size = 0;
  let start = 0;
  let pending: Buffer[] = [];
  let pendingBytes = 0;

  const endLine = (end: number): void => {
    const step = pendingBytes <= MAX_LINE_BYTES ? stepOf(Buffer.concat(pending)) : undefined;
    if (step !== undefined && step > (kept.at(-1)?.step ?? 0) && step <= lastStep) {
      if (start !== (kept.at(-1)?.end ?? 0)) isPrefix = false;
      kept.push({ step, start, end });
    }
    start = end;
    pending = [];
    pendingBytes = 0;
  };

  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length; ) {
      const feed = chunk.indexOf(LINE_FEED, from);
      const to = feed < 0 ? chunk.length : feed;
      // Invalid lines are not kept in memory.
      if (pendingBytes <= MAX_LINE_BYTES) pending.push(chunk.subarray(from, to));
      pendingBytes += to - from;
      if (feed >= 0) endLine(size + feed + 1);
      from = to + 1;
    }
    size += chunk.length;
  }
  return { kept, isPrefix, size };
}

function stepOf(line: Buffer): number | undefined {
  try {
    const { step } = JSON.parse(line.toString()) as { step?: unknown };
    return Number.isSafeInteger(step) ? (step as number) : undefined;
  } catch {
    return undefined;
  }
}

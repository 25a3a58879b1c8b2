import { join } from "node:path";
import { writeFileAtomically } from "../images/write-file.js";

/** Times of what a run does. */
export interface Profile {
  /** Runs `work`, which is told of under this name. */
  span<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** Called when a step is over. */
  stepEnds(step: number): Promise<void>;
  /** Called at the end of the run, whether or not it recorded as many steps as it was to. */
  finish(): Promise<void>;
}

/** Records nothing. */
export const noProfile: Profile = {
  span: (_, work) => work(),
  stepEnds: async () => {},
  finish: async () => {},
};

/** Steps before the recording, in which memory is allocated and weights are packed. */
const WARM_UP = 2;

/** The file's name, in the output folder. */
export const PROFILE_FILE = "profile.json";

interface Span {
  name: string;
  /** Milliseconds, as `performance.now()` tells them. */
  start: number;
  end: number;
}

/**
 * Records some steps of a run, after its first two, and writes them in the format of Chrome's traces, which `chrome://tracing` and
 * https://ui.perfetto.dev show: the loop's parts, and how long each of them took.
 *
 * @param steps to record
 * @param first the number of the run's first step
 */
export function recordProfile(outputDir: string, steps: number, first: number): Profile {
  const spans: Span[] = [];
  let began: number | undefined;
  let recorded = 0;
  let isOver = false;

  const stop = async () => {
    if (began === undefined || isOver) return;
    isOver = true;
    await writeFileAtomically(join(outputDir, PROFILE_FILE), Buffer.from(chromeTrace(spans, began)));
  };
  return {
    async span(name, work) {
      const start = performance.now();
      try {
        return await work();
      } finally {
        if (began !== undefined && !isOver && start >= began) spans.push({ name, start, end: performance.now() });
      }
    },
    async stepEnds(step) {
      if (began !== undefined) {
        recorded += 1;
        if (recorded === steps) await stop();
      } else if (step >= first + WARM_UP - 1) began = performance.now();
    },
    finish: stop,
  };
}

/** See "Trace Event Format": complete events, in microseconds. */
function chromeTrace(spans: readonly Span[], began: number): string {
  const events = spans.map(({ name, start, end }) => ({
    ...{ name, cat: "loop", ph: "X", pid: process.pid, tid: 0 },
    ...{ ts: (start - began) * 1000, dur: (end - start) * 1000 },
  }));
  return `${JSON.stringify({ displayTimeUnit: "ms", traceEvents: events })}\n`;
}

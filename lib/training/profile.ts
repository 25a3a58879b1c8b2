import { join } from "node:path";
import { writeFileAtomically } from "../images/write-file.js";
import type { OperatorTrace } from "../runtime/contract/system.js";
import { native } from "../runtime/native.js";

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
 * https://ui.perfetto.dev show: the loop's parts, the operators that ran meanwhile by thread, and how long each of them took.
 *
 * @param steps to record
 * @param first the number of the run's first step
 */
export function recordProfile(outputDir: string, steps: number, first: number): Profile {
  const spans: Span[] = [];
  let began: number | undefined;
  let recorded = 0;
  let records = false;
  let isOver = false;

  const stop = async () => {
    if (began === undefined || isOver) return;
    isOver = true;
    const operators = records ? native().stopOperatorTrace() : { names: [], calls: new Float64Array() };
    await writeFileAtomically(join(outputDir, PROFILE_FILE), Buffer.from(chromeTrace(spans, began, operators)));
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
      } else if (step >= first + WARM_UP - 1) {
        began = performance.now();
        // Another run of this process may record them already.
        records = native().startOperatorTrace();
      }
    },
    finish: stop,
  };
}

/** See "Trace Event Format": complete events, in microseconds. */
function chromeTrace(spans: readonly Span[], began: number, { names, calls }: OperatorTrace): string {
  const threads = new Set<number>();
  // Each copy of the addon registers its operators under a name of its own.
  const shown = names.map((name) => name.replace(/^ip2p_[0-9a-f]+::/, "ip2p::"));
  const loop = spans.map(({ name, start, end }) => ({
    ...{ name, cat: "loop", ph: "X", pid: process.pid, tid: 0 },
    ...{ ts: (start - began) * 1000, dur: (end - start) * 1000 },
  }));
  const operators = Array.from({ length: calls.length / 4 }, (_, i) => {
    const [name, thread, start, end] = calls.subarray(4 * i, 4 * i + 4) as unknown as [number, number, number, number];
    threads.add(thread);
    return {
      ...{ name: shown[name]!, cat: "operator", ph: "X", pid: process.pid, tid: thread + 1 },
      ...{ ts: start / 1000, dur: (end - start) / 1000 },
    };
  });
  const titles = [
    [0, "training loop"] as const,
    ...[...threads].map((thread) => [thread + 1, "operators"] as const),
  ].map(([tid, name]) => ({ name: "thread_name", ph: "M", pid: process.pid, tid, args: { name } }));
  return `${JSON.stringify({ displayTimeUnit: "ms", traceEvents: [...titles, ...loop, ...operators] })}\n`;
}

import { once } from "node:events";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Worker } from "node:worker_threads";

/** How late timers are: 99 of 100 are at most so many milliseconds late. */
export interface TimerDelays {
  /** On this thread. */
  busy: number;
  /** At the same time on a thread that has nothing to do: what other processes cost any thread here. */
  idle: number;
}

/** How late timers are while `body` runs. It has to last for a tenth of a second or so. */
export async function timerDelays(body: () => Promise<unknown>): Promise<TimerDelays> {
  const idle = new Worker(
    `const { monitorEventLoopDelay } = require("node:perf_hooks");
     const { parentPort } = require("node:worker_threads");
     const delay = monitorEventLoopDelay({ resolution: 1 });
     delay.enable();
     parentPort.postMessage("on");
     parentPort.once("message", () => parentPort.postMessage(delay.percentile(99) / 1e6));`,
    { eval: true },
  );
  try {
    await once(idle, "message");
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await body();
    delay.disable();
    if (delay.count < 50) throw new Error(`${delay.count} delays are too few to tell`);
    idle.postMessage("end");
    const [milliseconds] = (await once(idle, "message")) as [number];
    return { busy: delay.percentile(99) / 1e6, idle: milliseconds };
  } finally {
    await idle.terminate();
  }
}

// Whether the event loop of a thread is free while something runs, told without a clock: by how often it turns in comparison
// with the loop of a thread that has nothing to do. Whatever else the machine is busy with slows down both.
import { once } from "node:events";
import { Worker } from "node:worker_threads";

/** The loop turns at least this often for each turn of the idle one. */
const LEAST_SHARE = 1 / 4;
/** It is held up for at most this share of the whole time at once, told in turns of the idle one. */
const MOST_AT_ONCE = 1 / 4;
/** What the code does to the loop it does each time; a machine that takes the processor away from one thread does not. */
const TIMES = 5;
/** Fewer turns of the idle loop are too few to tell. */
const LEAST_TURNS = 50;

/** Counts the turns of both loops while `body` runs. */
async function turnsDuring(body) {
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const idle = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     setInterval(() => Atomics.add(workerData, 0, 1) === 10 && parentPort.postMessage("turning"), 1);`,
    { eval: true, workerData: shared },
  );
  try {
    await once(idle, "message");
    const begun = Atomics.load(shared, 0);
    let [busy, longest, last] = [0, 0, begun];
    const turn = () => {
      const now = Atomics.load(shared, 0);
      longest = Math.max(longest, now - last);
      last = now;
    };
    const timer = setInterval(() => {
      busy++;
      turn();
    }, 1);
    try {
      await body();
    } finally {
      clearInterval(timer);
    }
    turn();
    return { busy, idle: last - begun, longest };
  } finally {
    await idle.terminate();
  }
}

/** What holds up the loop whenever `body` runs; see event-loop.d.mts. */
export async function heldUpDuring(body) {
  let said;
  for (let i = 0; i < TIMES; i++) {
    said = heldUp(await turnsDuring(body));
    if (said === undefined) return undefined;
  }
  return said;
}

/** What is wrong with these turns, or undefined if the loop was free. */
function heldUp({ busy, idle, longest }) {
  if (idle < LEAST_TURNS) return `${idle} turns of the idle loop are too few to tell`;
  if (busy < LEAST_SHARE * idle) return `the loop turned ${busy} times, an idle one ${idle} times`;
  if (longest > MOST_AT_ONCE * idle) return `the loop stood still for ${longest} of ${idle} turns of an idle one`;
}

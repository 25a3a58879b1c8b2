import { readFile } from "node:fs/promises";

/** Unit of process times in /proc (USER_HZ), independent of the kernel's. */
const TICKS_PER_SECOND = 100;

/**
 * Start time of a process of this machine, in milliseconds since 1970; undefined if unknown. On systems other than
 * Linux it is known for this process only.
 */
export async function processStart(pid: number): Promise<number | undefined> {
  return (process.platform === "linux" && (await startOnLinux(pid))) || (pid === process.pid ? ownStart() : undefined);
}

/** Later than what the system says by the time that loading Node.js took. */
const ownStart = () => Date.now() - process.uptime() * 1000;

async function startOnLinux(pid: number): Promise<number | undefined> {
  try {
    const [fields, machine] = await Promise.all([fieldsOf(pid), readFile("/proc/stat", "utf8")]);
    const ticks = Number(fields[19]); // field 22 of all
    const boot = Number(/^btime (\d+)$/m.exec(machine)?.[1]);
    const start = (boot + ticks / TICKS_PER_SECOND) * 1000;
    return Number.isFinite(start) ? start : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a process of this machine was stopped, by a signal or a debugger; false where that cannot be told. */
export async function isStopped(pid: number): Promise<boolean> {
  if (process.platform !== "linux") return false;
  const [state] = await fieldsOf(pid).catch(() => []);
  return state === "T" || state === "t";
}

/** What `/proc/<pid>/stat` says, from the state on: the name before it, in parentheses, may hold spaces. */
async function fieldsOf(pid: number): Promise<string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

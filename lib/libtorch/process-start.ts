import { readFile } from "node:fs/promises";

/** Unit of process times in /proc (USER_HZ), independent of the kernel's. */
const TICKS_PER_SECOND = 100;

/**
 * Start time of a process of this machine, in milliseconds since 1970; undefined if unknown. On systems other than
 * Linux it is known for this process only.
 */
export async function processStart(pid: number): Promise<number | undefined> {
  if (pid === process.pid) return Date.now() - process.uptime() * 1000;
  if (process.platform !== "linux") return undefined;
  try {
    const [stat, machine] = await Promise.all([readFile(`/proc/${pid}/stat`, "utf8"), readFile("/proc/stat", "utf8")]);
    // The name of the program, in parentheses, may hold spaces; the start is field 22 of all, 20 after it.
    const ticks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    const boot = Number(/^btime (\d+)$/m.exec(machine)?.[1]);
    const start = (boot + ticks / TICKS_PER_SECOND) * 1000;
    return Number.isFinite(start) ? start : undefined;
  } catch {
    return undefined;
  }
}

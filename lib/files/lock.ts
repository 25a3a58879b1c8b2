import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { lstat, lutimes, mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { sleep } from "../core/sleep.js";
import { isStopped, processStart } from "./process-start.js";

/** Heartbeat interval of the lock holder, and the time without one after which it counts as dead. */
const HEARTBEAT_MS = 5_000;
const STALE_MS = 60_000;
/** Tolerance between file times and process clocks. */
const START_TOLERANCE_MS = 2_500;

interface Holder {
  id: string;
  pid: number;
  host: string;
}

export interface LockOptions {
  signal?: AbortSignal;
  /** Called once if another process holds the lock; if it throws, waiting ends. */
  onWait?: (holder: string) => void;
  /** Polling interval in milliseconds; default 500. */
  interval?: number;
}

/**
 * Runs `work` while holding a lock file, waiting for the current lock holder. A dead holder is detected at once on the
 * same host, and by its missing heartbeat on a shared file system.
 *
 * @throws `ERR_ABORTED`, `ERR_IO` if the lock file cannot be created or removed, or if the path is not a regular file
 * (a link, a folder, a pipe), and whatever `work` throws.
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const mine: Holder = { id: randomUUID(), pid: process.pid, host: hostname() };
  const { interval = 500, signal } = options;
  let told = false;
  await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => {
    throw unusable(path, error);
  });
  while (!(await tryAcquire(path, mine))) {
    throwIfAborted(signal);
    const held = await readHolder(path);
    if (held && (await isStale(held))) {
      await takeAway(path, held.holder);
      continue;
    }
    if (held && !told) options.onWait?.(describe(held.holder, mine.host));
    told ||= held !== undefined;
    // Retries soon after a lock has vanished, but not in a busy loop.
    await sleep(held ? interval : Math.min(interval, 10), signal);
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    lutimes(path, now, now).catch(() => {});
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    const held = await readHolder(path).catch(() => undefined);
    if (held?.holder.id === mine.id) await rm(path, { force: true });
  }
}

async function tryAcquire(path: string, mine: Holder): Promise<boolean> {
  try {
    // Fails if the path exists, also as a broken link.
    await writeFile(path, JSON.stringify(mine), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw unusable(path, error);
  }
}

/**
 * The lock holder and the time of its last heartbeat; undefined if the lock file is gone.
 *
 * @throws `ERR_IO` if it is not a regular file: it cannot be a lock, and waiting for it would never end
 */
async function readHolder(path: string): Promise<{ holder: Holder; confirmed: number } | undefined> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw unusable(path, error);
  });
  if (found === undefined) return undefined;
  if (!found.isFile()) throw unusable(path, new Error("it is not a regular file; remove it"));
  const confirmed = found.mtimeMs;
  let text: string;
  try {
    text = await readStart(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    // Possibly another user's; only its age is known.
    return { holder: UNREADABLE, confirmed };
  }
  try {
    const { id, pid, host } = JSON.parse(text) as Partial<Holder>;
    if (typeof id === "string" && Number.isSafeInteger(pid) && (pid as number) > 0 && typeof host === "string")
      return { holder: { id, pid: pid as number, host }, confirmed };
  } catch {}
  // It is being written, or its writer died.
  return { holder: UNREADABLE, confirmed };
}

const UNREADABLE: Holder = { id: "unreadable", pid: 0, host: "" };

/** Reads a lock file, without following a link or blocking on a pipe in its place. */
async function readStart(path: string): Promise<string> {
  // Windows has neither flag.
  const file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}

function describe({ pid, host }: Holder, here: string): string {
  if (pid === 0) return "an unknown process";
  return host === here ? `process ${pid}` : `${host}, process ${pid}`;
}

async function isStale({ holder, confirmed }: { holder: Holder; confirmed: number }): Promise<boolean> {
  if (holder.host === hostname()) {
    try {
      process.kill(holder.pid, 0);
    } catch (error) {
      // EPERM: it exists, but belongs to another user.
      if ((error as NodeJS.ErrnoException).code !== "EPERM") return true;
    }
    // Its process id may have been reused, as happens at once when a container restarts.
    const started = await processStart(holder.pid);
    if (started !== undefined && started > confirmed + START_TOLERANCE_MS) return true;
    // As by Ctrl-Z: it shows no sign of life, but it is going to go on where it was.
    if (await isStopped(holder.pid)) return false;
  }
  return Date.now() - confirmed > STALE_MS;
}

/** Removes a dead holder's file, unless another process has replaced it meanwhile. */
async function takeAway(path: string, dead: Holder): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    const held = await readHolder(aside);
    if (held === undefined || held.holder.id === dead.id) await rm(aside, { force: true });
    else await rename(aside, path);
  } catch (error) {
    if (error instanceof InstructPix2PixError) throw error;
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw unusable(path, error);
  }
}

function unusable(path: string, error: unknown): InstructPix2PixError {
  const { message } = error as Error;
  return new InstructPix2PixError("ERR_IO", `${path} cannot be used as a lock: ${message}`, { cause: error });
}

import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../errors.js";
import { sleep } from "../sleep.js";
import { processStart } from "./process-start.js";

/** How often a holder shows that it lives, and after how long without that it counts as dead. */
const HEARTBEAT_MS = 5_000;
const STALE_MS = 60_000;
/** How far the clocks of files and of processes may be apart. */
const START_TOLERANCE_MS = 1_000;

interface Holder {
  id: string;
  pid: number;
  host: string;
}

export interface LockOptions {
  signal?: AbortSignal;
  /** Called once if somebody else holds the lock; what it throws ends the wait. */
  onWait?: (holder: string) => void;
  /** Milliseconds between looks; default 500. */
  interval?: number;
}

/**
 * Runs `work` while holding a lock file, waiting for whoever holds it. A holder that died is noticed at once on the
 * same host, and by its missing heartbeat on a shared file system.
 *
 * @throws `ERR_ABORTED`, `ERR_IO` if the lock file cannot be created, and whatever `work` throws.
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  const mine: Holder = { id: randomUUID(), pid: process.pid, host: hostname() };
  let told = false;
  while (!(await tryAcquire(path, mine))) {
    throwIfAborted(options.signal);
    const holder = await readHolder(path);
    if (holder === undefined) continue;
    if (await isStale(path, holder)) {
      await takeAway(path, holder);
      continue;
    }
    if (!told)
      options.onWait?.(holder.host === mine.host ? `process ${holder.pid}` : `${holder.host}, process ${holder.pid}`);
    told = true;
    await sleep(options.interval ?? 500, options.signal);
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    if ((await readHolder(path))?.id === mine.id) await rm(path, { force: true });
  }
}

async function tryAcquire(path: string, mine: Holder): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, JSON.stringify(mine), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new InstructPix2PixError("ERR_IO", `${path} cannot be written: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const parsed: Partial<Holder> = JSON.parse(await readFile(path, "utf8"));
    return { id: String(parsed.id), pid: Number(parsed.pid), host: String(parsed.host) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    // Somebody is just writing it, or died at that; only its age can tell.
    return { id: "unreadable", pid: Number.NaN, host: "unknown" };
  }
}

async function isStale(path: string, holder: Holder): Promise<boolean> {
  if (holder.host === hostname()) {
    try {
      process.kill(holder.pid, 0);
    } catch (error) {
      // EPERM: it lives, but belongs to somebody else.
      if ((error as NodeJS.ErrnoException).code !== "EPERM") return true;
    }
  }
  try {
    const { mtimeMs } = await stat(path);
    if (holder.host === hostname()) {
      // Its number was given to another process meanwhile, as happens at once when a container is started again.
      const started = await processStart(holder.pid);
      if (started !== undefined && started > mtimeMs + START_TOLERANCE_MS) return true;
    }
    return Date.now() - mtimeMs > STALE_MS;
  } catch {
    return false;
  }
}

/** Removes a dead holder's file, unless another process has meanwhile replaced it by its own. */
async function takeAway(path: string, dead: Holder): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if ((await readHolder(aside))?.id === dead.id) await rm(aside, { force: true });
  else await rename(aside, path);
}

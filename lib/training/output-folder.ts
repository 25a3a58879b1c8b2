import { mkdir, mkdtemp, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { ioError } from "../files/io-error.js";
import { withLock } from "../files/lock.js";

/** The lock file; exists while a run uses the folder. */
const LOCK = ".training.lock";

/**
 * Creates the output folder, checks that it is writable, and locks it during `work`. The lock of a dead process is
 * taken over at once on the same machine, and after a minute from another one.
 *
 * @param leavesNothing whether `work` writes nothing that stays, so that a folder which was made for it goes
 *
 * @throws `ERR_IO`; `ERR_IN_USE` naming the lock holder; whatever `work` throws
 */
export async function withOutputFolder<T>(
  outputDir: string,
  { leavesNothing }: { leavesNothing: boolean },
  work: () => Promise<T>,
): Promise<T> {
  let made: string | undefined;
  try {
    made = await mkdir(outputDir, { recursive: true });
    await rmdir(await mkdtemp(join(outputDir, ".writable-")));
  } catch (error) {
    throw ioError("write to the output folder", outputDir, error);
  }
  const lock = join(outputDir, LOCK);
  const onWait = (holder: string) => {
    const whose = holder === `process ${process.pid}` ? `${holder}, this one,` : holder;
    throw new InstructPix2PixError(
      "ERR_IN_USE",
      `${whose} is training into "${outputDir}"; choose another output folder, or wait until it is done`,
    );
  };
  try {
    return await withLock(lock, { onWait }, work);
  } finally {
    if (made !== undefined && leavesNothing) await rmdir(outputDir).catch(() => {});
  }
}

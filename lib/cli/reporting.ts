import type { CommandIo } from "./command.js";
import { showWarnings } from "./warnings.js";

/** What the reporters of all commands have in common. */
export interface Reporter {
  failed(error: unknown): void;
  /** Leaves the terminal as it was; called once, at the end of everything. */
  stop(): void;
}

/**
 * Does a command's work while a reporter tells of it.
 *
 * @param warn told of this package's warnings meanwhile
 */
export async function reported(
  reporter: Reporter,
  warn: (text: string) => void,
  work: () => Promise<void>,
): Promise<void> {
  const restoreWarnings = showWarnings(warn);
  try {
    await work();
  } catch (error) {
    reporter.failed(error);
    throw error;
  } finally {
    // Warnings are delivered a tick after they were given.
    await new Promise(setImmediate);
    reporter.stop();
    restoreWarnings();
  }
}

/** Whether progress is shown as a bar: where standard error is a terminal, unless it is not wanted. */
export function showsBar({ progress, quiet }: { progress: boolean; quiet: boolean }, io: Pick<CommandIo, "stderr">) {
  return io.stderr.isTTY === true && progress && !quiet;
}

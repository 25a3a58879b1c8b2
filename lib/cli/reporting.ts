import type { CommandIo } from "./command.js";
import { showWarnings } from "./warnings.js";

/** The common interface of all commands' reporters. */
export interface Reporter {
  failed(error: unknown): void;
  /** Restores the terminal; called once, at the end. */
  stop(): void;
}

/**
 * Runs a command's work while a reporter reports it.
 *
 * @param warn receives this package's warnings meanwhile
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
    // Process warnings are delivered one tick later.
    await new Promise(setImmediate);
    reporter.stop();
    restoreWarnings();
  }
}

/** Whether progress is shown as a bar: where standard error is a terminal, unless disabled. */
export function showsBar({ progress, quiet }: { progress: boolean; quiet: boolean }, io: Pick<CommandIo, "stderr">) {
  return io.stderr.isTTY === true && progress && !quiet;
}

import { constants } from "node:os";
import type { CommandIo } from "./command.js";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const SHOW_CURSOR = "\x1b[?25h";

/** The exit status of a process that a signal ended, as shells have it: 128 and the signal's number. */
export function statusOfSignal(name: NodeJS.Signals): number {
  return 128 + constants.signals[name];
}

export interface Cancellation {
  /** Fires at the first signal; its reason is the signal's name. */
  readonly signal: AbortSignal;
  /** Cancels as a first signal of this name does, if none has come. */
  cancel(name: NodeJS.Signals): void;
  /** {@link statusOfSignal} if a signal stopped the command, otherwise the command's own. */
  statusFor(status: number): number;
  /** Removes the signal handlers. */
  stop(): void;
}

/** The first Ctrl-C (or SIGTERM, SIGHUP) cancels the command, which then ends cleanly; a second one exits at once. */
export function cancelOnSignals(stderr: CommandIo["stderr"]): Cancellation {
  const controller = new AbortController();
  let stopped: number | undefined;
  const onSignal = (name: NodeJS.Signals) => {
    const status = statusOfSignal(name);
    if (stopped !== undefined) {
      if (stderr.isTTY) stderr.write(`${SHOW_CURSOR}\n`);
      process.exit(status);
    }
    stopped = status;
    controller.abort(name);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    signal: controller.signal,
    cancel: (name) => {
      if (stopped === undefined) onSignal(name);
    },
    statusFor: (status) => (status === 0 ? 0 : (stopped ?? status)),
    stop: () => {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}

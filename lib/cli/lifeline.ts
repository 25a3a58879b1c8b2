import type { Readable } from "node:stream";

/**
 * The variable by which `ip2p launch` tells a process that its standard input closes when the launcher ends, in
 * whatever way: the kernel closes the pipes of a process that was killed.
 */
export const LIFELINE = "IP2P_LIFELINE";

/** How long a process may then take to end in good order, in milliseconds: as the launcher waits after a signal. */
const KILL_AFTER_MS = 30_000;

/**
 * Ends this process with its launcher: calls `cancel`, as a signal would, and kills the process if it still runs a while
 * later. Without the launcher's variable it does nothing, and `input` is left alone.
 *
 * @param kill for tests
 */
export function endWithLauncher(
  env: NodeJS.ProcessEnv,
  input: () => Readable & { unref?(): unknown },
  cancel: () => void,
  kill: () => void = () => process.kill(process.pid, "SIGKILL"),
): void {
  if (env.IP2P_LIFELINE === undefined) return;
  // Not for programs that this one starts.
  delete env[LIFELINE];
  const stream = input();
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    cancel();
    setTimeout(kill, KILL_AFTER_MS).unref();
  };
  for (const event of ["end", "close", "error"]) stream.on(event, end);
  stream.resume();
  // It must not keep the process alive.
  stream.unref?.();
}

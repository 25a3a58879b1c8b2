import { execFileSync } from "node:child_process";

/** Whether a command could be run and succeeded: one that this machine or user may lack. */
export function tryTo(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

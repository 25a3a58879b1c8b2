import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { GIB } from "./stats.mjs";

/** The machine and versions that a result was measured with. */
export function describeMachine() {
  const [cpu] = os.cpus();
  return {
    cpu: cpu?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryGiB: round(os.totalmem() / GIB),
    platform: `${os.platform()} ${os.release()} ${os.arch()}`,
    node: process.version,
  };
}

/** Load average of the last minute: if above this run's own thread count, other processes were busy too. */
export function loadAverage() {
  return round(os.loadavg()[0]);
}

/** The commit that was measured, with a + if files differ from it. Null outside a clone. */
export function commit(root) {
  const git = (...args) =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    const changed = git("status", "--porcelain", "--", "lib", "native", "CMakeLists.txt").trim() !== "";
    return git("rev-parse", "--short", "HEAD").trim() + (changed ? "+" : "");
  } catch {
    return null;
  }
}

/** Peak resident memory of this process, in bytes. Null if the system does not report it. */
export function peakMemory() {
  try {
    const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
    return line ? Number(line[1]) * 1024 : null;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

function round(value) {
  return Math.round(value * 100) / 100;
}

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { GIB } from "./stats.mjs";

/** What a result was measured on. */
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

/** Processes that wanted a core, on average over the last minute: above this run's own threads, others were busy too. */
export function loadAverage() {
  return round(os.loadavg()[0]);
}

/** The commit that was measured; with a + where files differ from it. Null outside a clone. */
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

/** The most memory that this process has held at once, in bytes. Null where the system does not tell. */
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

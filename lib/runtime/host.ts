import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, freemem, release, totalmem } from "node:os";
import { join } from "node:path";

/** Properties of the machine that matter for computing. */
export interface Host {
  /** The processor's name. */
  cpu: string;
  /** Cores this process may run on. */
  cores: number;
  /** CPU limit of the container in cores, if any; may be a fraction. */
  coreLimit: number | null;
  /** Those of avx2, avx512f, avx512_bf16, amx_bf16, … that matter to libtorch and that the processor has. */
  instructionSets: string[];
  /** Bytes. */
  totalMemory: number;
  /** Memory limit of the container in bytes, if any. */
  memoryLimit: number | null;
  /** Available bytes without swapping. */
  freeMemory: number;
  kernel: string;
}

/** Instruction sets that libtorch and oneDNN choose kernels by, by the names in /proc/cpuinfo. */
const relevant = [
  ...["fma", "f16c", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16"],
  ...["avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "asimdhp", "bf16", "i8mm", "sve", "sve2"],
];

export function describeHost(procFolder = "/proc", cgroupFolder = "/sys/fs/cgroup"): Host {
  const limits = readLimits(procFolder, cgroupFolder);
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    cores: availableParallelism(),
    coreLimit: limits.cores,
    instructionSets: readInstructionSets(procFolder),
    totalMemory: totalmem(),
    memoryLimit: limits.memory,
    freeMemory: freemem(),
    kernel: release(),
  };
}

/** Number of cores to use: those available to this process, within the container's limit. */
export function usableCores(): number {
  const { cores } = readLimits("/proc", "/sys/fs/cgroup");
  return Math.max(1, Math.min(availableParallelism(), cores === null ? Number.POSITIVE_INFINITY : Math.ceil(cores)));
}

function readInstructionSets(procFolder: string): string[] {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(read(join(procFolder, "cpuinfo")) ?? "")?.[1] ?? "";
  const present = new Set(line.trim().split(/\s+/));
  return relevant.filter((name) => present.has(name));
}

/** A container's limits: cgroup 2, else cgroup 1; the tightest one on the way from this process's group to the root. */
export function readLimits(procFolder: string, cgroupFolder: string): { cores: number | null; memory: number | null } {
  const { unified, cpu, memory: memoryGroups } = controlGroups(procFolder, cgroupFolder);
  const cores: number[] = [];
  const memory: number[] = [];

  for (const folder of unified) {
    const [quota, period] = (read(join(folder, "cpu.max")) ?? "").trim().split(" ");
    if (Number(quota) > 0 && Number(period) > 0) cores.push(Number(quota) / Number(period));
    const limit = Number(read(join(folder, "memory.max")) ?? Number.NaN);
    if (limit > 0) memory.push(limit);
  }
  for (const folder of cpu) {
    const quota = Number(read(join(folder, "cpu.cfs_quota_us")) ?? Number.NaN);
    const period = Number(read(join(folder, "cpu.cfs_period_us")) ?? Number.NaN);
    if (quota > 0 && period > 0) cores.push(quota / period);
  }
  for (const folder of memoryGroups) {
    const limit = Number(read(join(folder, "memory.limit_in_bytes")) ?? Number.NaN);
    if (limit > 0 && limit < NO_LIMIT) memory.push(limit);
  }
  return {
    cores: cores.length > 0 ? Math.min(...cores) : null,
    memory: memory.length > 0 ? Math.min(...memory) : null,
  };
}

/** Without a limit, cgroup 1 reports the largest number of pages. */
const NO_LIMIT = 2 ** 60;

/** The folders of this process's groups, from the root down: of cgroup 2, and of cgroup 1 by controller. */
function controlGroups(procFolder: string, cgroupFolder: string) {
  const groups = (read(join(procFolder, "self", "cgroup")) ?? "").trim().split("\n");
  const pathOf = (controller: string) =>
    groups.map((line) => line.split(":")).find(([, names]) => names?.split(",").includes(controller))?.[2] ?? "/";
  const version1 = (controller: string) => ancestors(join(cgroupFolder, controller), pathOf(controller));
  return { unified: ancestors(cgroupFolder, pathOf("")), cpu: version1("cpu"), memory: version1("memory") };
}

/**
 * Bytes that this process can still take, swap included: the least that the machine and each of the container's groups have
 * left. What holds copies of files counts as free, since it is given up when memory is short.
 *
 * @returns infinity where nothing says so, as outside of Linux
 */
export function availableMemory(procFolder = "/proc", cgroupFolder = "/sys/fs/cgroup"): number {
  const machine = numbersOf(read(join(procFolder, "meminfo")));
  const swap = 1024 * (machine.get("SwapFree") ?? 0);
  const free = machine.get("MemAvailable");
  const left = free === undefined ? [] : [1024 * free + swap];
  const { unified, memory } = controlGroups(procFolder, cgroupFolder);
  const group = (folder: string, names: { limit: string; usage: string; swap?: string; files: string[] }) => {
    const number = (name: string) => Number(read(join(folder, name)) ?? Number.NaN); // "max" is no number
    const [limit, usage] = [number(names.limit), number(names.usage)];
    if (!(limit > 0 && limit < NO_LIMIT && usage >= 0)) return;
    const details = numbersOf(read(join(folder, "memory.stat")));
    const files = names.files.reduce((sum, name) => sum + (details.get(name) ?? 0), 0);
    const ownSwap = names.swap === undefined ? Number.NaN : number(names.swap);
    left.push(Math.max(0, limit - usage + files) + Math.min(swap, ownSwap >= 0 ? ownSwap : swap));
  };
  for (const folder of unified)
    group(folder, {
      ...{ limit: "memory.max", usage: "memory.current", swap: "memory.swap.max" },
      files: ["inactive_file", "active_file"],
    });
  for (const folder of memory)
    group(folder, {
      ...{ limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes" },
      files: ["total_inactive_file", "total_active_file"],
    });
  return Math.min(Number.POSITIVE_INFINITY, ...left);
}

/** Lines of a name and a number. */
function numbersOf(text = ""): Map<string, number> {
  return new Map(
    text.split("\n").map((line) => [/^\w+/.exec(line)?.[0] ?? "", Number(/\d+/.exec(line.replace(/^\S+/, ""))?.[0])]),
  );
}

function ancestors(base: string, path: string): string[] {
  const parts = path.split("/").filter(Boolean);
  return [base, ...parts.map((_, i) => join(base, ...parts.slice(0, i + 1)))];
}

function read(path: string): string | undefined {
  try {
    return existsSync(path) ? readFileSync(path, "utf8") : undefined;
  } catch {
    return undefined;
  }
}

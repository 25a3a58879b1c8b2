import { readFileSync } from "node:fs";

/** A logical processor, and the core that it belongs to. */
export interface Processor {
  readonly id: number;
  readonly socket: number;
  readonly core: number;
}

/**
 * Divides processors into groups, one for each process of this host: neighbours, so that a process stays on one socket
 * where that is possible, and never two processes on the same core, except where there are more of them than cores.
 *
 * @returns ids in ascending order; undefined if there are fewer processors than processes
 */
export function groupsOfCores(processors: readonly Processor[], processes: number): number[][] | undefined {
  if (processors.length < processes) return undefined;
  const cores = new Map<string, Processor[]>();
  for (const each of [...processors].sort((a, b) => a.socket - b.socket || a.core - b.core || a.id - b.id)) {
    const name = `${each.socket} ${each.core}`;
    cores.set(name, [...(cores.get(name) ?? []), each]);
  }
  const whole = [...cores.values()];
  const units = whole.length >= processes ? whole : whole.flat().map((each) => [each]);
  const first = (group: number) => Math.floor((group * units.length) / processes);
  return Array.from({ length: processes }, (_, group) =>
    units
      .slice(first(group), first(group + 1))
      .flatMap((unit) => unit.map(({ id }) => id))
      .sort((a, b) => a - b),
  );
}

/** The processors that this process may use; undefined where Linux does not say. */
export function ownProcessors(): Processor[] | undefined {
  try {
    const allowed = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]!;
    return parseList(allowed).map((id) => ({
      id,
      socket: topology(id, "physical_package_id"),
      core: topology(id, "core_id"),
    }));
  } catch {
    return undefined;
  }
}

/** The ids of a list such as "0-3,8". */
export function parseList(text: string): number[] {
  return text
    .trim()
    .split(",")
    .flatMap((part) => {
      const [from, to = from] = part.split("-").map(Number) as [number, number?];
      return Array.from({ length: to! - from + 1 }, (_, i) => from + i);
    });
}

function topology(id: number, name: string): number {
  return Number(readFileSync(`/sys/devices/system/cpu/cpu${id}/topology/${name}`, "utf8"));
}

import { randomUUID } from "node:crypto";
import type { Manifest } from "./manifest.js";

/** The branching point from an earlier run. */
export interface Ancestor {
  /** The earlier run's id; null for checkpoints written before runs had one. */
  readonly id: string | null;
  /** The last common step. */
  readonly step: number;
}

/** The identity of a checkpoint's run. A run resumed in place keeps its identity; one that branches off gets a new one. */
export interface RunIdentity {
  readonly id: string;
  /** The runs that it branched off from, nearest first. */
  readonly ancestors: readonly Ancestor[];
}

/** A new run. */
export function newRun(): RunIdentity {
  return { id: randomUUID(), ancestors: [] };
}

/** A run that branches off from a checkpoint; `parent` is undefined for one written before runs had an identity. */
export function branchOf(parent: RunIdentity | undefined, step: number): RunIdentity {
  const earlier = parent?.ancestors.filter((ancestor) => ancestor.step <= step) ?? [];
  return { id: randomUUID(), ancestors: [{ id: parent?.id ?? null, step }, ...earlier] };
}

/**
 * Whether a checkpoint belongs to the run or to an ancestor up to its branching point.
 *
 * @param run undefined for the run of checkpoints written before runs had an identity, all of which count as one
 */
export function isInLineage(run: RunIdentity | undefined, checkpoint: Pick<Manifest, "run" | "step">): boolean {
  const id = checkpoint.run?.id ?? null;
  if (id === (run?.id ?? null)) return true;
  // The branching step limits the ancestor's checkpoints.
  return run?.ancestors.some((ancestor) => ancestor.id === id && checkpoint.step <= ancestor.step) ?? false;
}

/** A run's name in messages. */
export function nameOfRun(id: string | null | undefined): string {
  return id ? `run ${shortId(id)}` : "an earlier run without an id";
}

/** A short id for file names. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

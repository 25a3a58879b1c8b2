import { randomUUID } from "node:crypto";
import type { Manifest } from "./manifest.js";

/** A checkpoint of an earlier run that a run goes back to. */
export interface Ancestor {
  /** The earlier run's id; null for checkpoints written before runs had one. */
  readonly id: string | null;
  /** The last step that both have in common. */
  readonly step: number;
}

/** Which run a checkpoint belongs to. A run that goes on in place keeps its identity; one that branches off gets another. */
export interface RunIdentity {
  readonly id: string;
  /** The runs that it branched off from, nearest first. */
  readonly ancestors: readonly Ancestor[];
}

/** A run that starts anew. */
export function newRun(): RunIdentity {
  return { id: randomUUID(), ancestors: [] };
}

/** A run that branches off from a checkpoint; `parent` is undefined for one written before runs had an identity. */
export function branchOf(parent: RunIdentity | undefined, step: number): RunIdentity {
  const earlier = parent?.ancestors.filter((ancestor) => ancestor.step <= step) ?? [];
  return { id: randomUUID(), ancestors: [{ id: parent?.id ?? null, step }, ...earlier] };
}

/**
 * Whether a checkpoint is the run's own, or one of an ancestor's that leads to it.
 *
 * @param run undefined for the run of checkpoints written before runs had an identity, all of which count as one
 */
export function isInLineage(run: RunIdentity | undefined, checkpoint: Pick<Manifest, "run" | "step">): boolean {
  const id = checkpoint.run?.id ?? null;
  if (id === (run?.id ?? null)) return true;
  // Without the ancestor's own limit a step made after the branch would count, too.
  return run?.ancestors.some((ancestor) => ancestor.id === id && checkpoint.step <= ancestor.step) ?? false;
}

/** How messages call a run. */
export function nameOfRun(id: string | null | undefined): string {
  return id ? `run ${shortId(id)}` : "an earlier run without an id";
}

/** Enough of an id to tell runs apart in names of files. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

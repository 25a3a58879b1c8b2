import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { disk } from "../files/file-system.js";
import { exists, readSmallFile } from "../files/tree.js";
import { GENERATOR_STATES, type TrainingState } from "./checkpoint/state.js";

/** How many processes made a checkpoint. */
export function processesOf({ order }: TrainingState): number {
  const { processes } = (order ?? {}) as { processes?: unknown };
  return typeof processes === "number" && Number.isSafeInteger(processes) && processes > 1 ? processes : 1;
}

/**
 * The position in the data and the generators belong to a number of processes.
 *
 * @throws `ERR_CONFIG` naming both numbers
 */
export function checkProcesses(
  folder: string,
  state: TrainingState,
  { size }: ProcessGroup,
  allowChanged: boolean,
): void {
  const before = processesOf(state);
  if (before === size || allowChanged) return;
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `${folder}: was made by ${before === 1 ? "one process" : `${before} processes`}, and this run has ${size === 1 ? "one" : size}: batches and draws would differ; start as many, or give allowChangedOptions`,
  );
}

/** The states of one process's generators, as text. */
export function generatorsAsText(generators: Record<string, Uint8Array>): string {
  return JSON.stringify(GENERATOR_STATES.write(generators));
}

/** @throws `ERR_CHECKPOINT` for a text that {@link generatorsAsText} did not write */
export function generatorsFromText(text: string, where: string): Record<string, Uint8Array> {
  let states: Record<string, Uint8Array> | undefined;
  try {
    states = GENERATOR_STATES.read(JSON.parse(text));
  } catch {
    // Not JSON.
  }
  if (!states) throw new InstructPix2PixError("ERR_CHECKPOINT", `${where}: is not a record of generators`);
  return states;
}

/** The file of a checkpoint with the states of another process's generators; those of rank 0 are in `state.json`. */
export function generatorsFile(rank: number): string {
  return `generators-rank${rank}.json`;
}

/**
 * The state with this process's generators.
 *
 * @throws `ERR_CHECKPOINT` naming the file that is missing or broken
 */
export async function stateOfRank(
  folder: string,
  state: TrainingState,
  { rank }: ProcessGroup,
): Promise<TrainingState> {
  if (rank === 0 || rank >= processesOf(state)) return state;
  const path = join(folder, generatorsFile(rank));
  const bytes = (await exists(disk, path)) ? await readSmallFile(disk, path, MAX_BYTES) : undefined;
  if (!bytes)
    throw new InstructPix2PixError("ERR_CHECKPOINT", `${path}: the states of this process's generators are missing`);
  return { ...state, generators: generatorsFromText(bytes.toString(), path) };
}

const MAX_BYTES = 1 << 20;

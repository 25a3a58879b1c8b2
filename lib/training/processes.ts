import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { disk } from "../files/file-system.js";
import { exists, readSmallFile } from "../files/tree.js";
import { GENERATOR_STATES, type TrainingState } from "./checkpoint/state.js";
import type { TrainOptions } from "./options.js";

/** How many processes made a checkpoint. */
export function processesOf({ order }: TrainingState): number {
  const { processes } = (order ?? {}) as { processes?: unknown };
  return typeof processes === "number" && Number.isSafeInteger(processes) && processes > 1 ? processes : 1;
}

/** How the rows of a step are dealt to processes and micro-steps. */
interface Division {
  processes: number;
  batch: number;
  accumulation: number;
}

/** Whether every step has the same rows, whichever process and micro-step takes them. */
export function dealsAlike(before: Division, now: Division, rows: number): boolean {
  const perStep = ({ processes, batch, accumulation }: Division) => processes * batch * accumulation;
  // Several processes fill up an epoch's last round; one does not.
  const perEpoch = ({ processes, batch }: Division) =>
    processes === 1 ? rows : Math.ceil(rows / (processes * batch)) * processes * batch;
  return perStep(before) === perStep(now) && perEpoch(before) === perEpoch(now);
}

/**
 * Checks the number of processes. Another one than the checkpoint's can go on where steps have the same rows; the
 * reference's order of them belongs to the number.
 *
 * @returns whether the rows are dealt in another way that makes the same steps
 * @throws `ERR_CONFIG` naming both numbers
 */
export function checkProcesses(folder: string, state: TrainingState, options: TrainOptions, size: number): boolean {
  const before = processesOf(state);
  if (before === size) return false;
  const { train_batch_size: batch, gradient_accumulation_steps: accumulation } = state.options;
  const rows = (state.order as { length?: unknown } | null)?.length;
  const alike =
    options.compat === undefined &&
    dealsAlike(
      { processes: before, batch: Number(batch), accumulation: Number(accumulation) },
      { processes: size, batch: options.trainBatchSize, accumulation: options.gradientAccumulationSteps },
      Number(rows),
    );
  if (alike || options.allowChangedOptions) return alike;
  const counted = (processes: number) => (processes === 1 ? "one process" : `${processes} processes`);
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `${folder}: was made by ${counted(before)} with trainBatchSize ${batch} and gradientAccumulationSteps ${accumulation}, and this run has ${counted(size)} with ${options.trainBatchSize} and ${options.gradientAccumulationSteps}: ${
      options.compat === undefined
        ? "steps would have other rows; choose them so that their product stays the same and divides the data set alike, or give allowChangedOptions"
        : "with compat the order of the rows belongs to the number of processes; start as many, or give allowChangedOptions"
    }`,
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

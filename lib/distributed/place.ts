import { hostname } from "node:os";
import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import type { Environment } from "../runtime/platform.js";

/** Which of the processes of a training this one is, and where they meet. */
export interface Place {
  /** This process, from 0. */
  readonly rank: number;
  /** How many train together; at least 2. */
  readonly size: number;
  /** This process among those of its host, from 0. */
  readonly localRank: number;
  /** This host's name, for messages. */
  readonly host: string;
  /** Where the processes' store is served. */
  readonly masterHost: string;
  readonly masterPort: number;
  /** Whether a launcher serves the store, and not rank 0. */
  readonly launcherServes: boolean;
  /** Tells the attempts of a launcher that starts the processes anew apart. */
  readonly attempt: string;
}

/** So many processes can be counted in one number of the store. */
export const MAX_PROCESSES = 1023;

/**
 * The place that torchrun's variables give this process: `RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`, and
 * `LOCAL_RANK` if there is one. In a step of Slurm (`srun`) its own say rank and size, if `MASTER_ADDR` and `MASTER_PORT` are
 * set.
 *
 * @param given `--local_rank` of old launchers, which counts where there is no `LOCAL_RANK`; negative if not given
 * @returns undefined for a process that trains alone
 * @throws `ERR_DISTRIBUTED` naming the variable that is missing or malformed
 */
export function placeFromEnvironment(env: Environment, given = -1): Place | undefined {
  const { rank, size, localRank } =
    env.RANK === undefined && env.MASTER_ADDR !== undefined && Number(env.SLURM_STEP_NUM_TASKS) > 1
      ? {
          rank: { name: "SLURM_PROCID", text: env.SLURM_PROCID },
          size: { name: "SLURM_STEP_NUM_TASKS", text: env.SLURM_STEP_NUM_TASKS },
          localRank: { name: "SLURM_LOCALID", text: env.SLURM_LOCALID },
        }
      : {
          rank: { name: "RANK", text: env.RANK },
          size: { name: "WORLD_SIZE", text: env.WORLD_SIZE },
          localRank: { name: "LOCAL_RANK", text: env.LOCAL_RANK },
        };
  if (rank.text === undefined || size.text === undefined) {
    // The reference would train as often as there are processes, each alone, into one folder.
    if (given > 0)
      throw new InstructPix2PixError(
        "ERR_DISTRIBUTED",
        `local_rank ${given} says that this is one of several processes, but ${rank.text === undefined ? rank.name : size.name} is not set: start them by ip2p launch, torchrun or srun`,
      );
    return undefined;
  }
  const processes = numberOf(size, 1, MAX_PROCESSES);
  const own = numberOf(rank, 0, processes - 1);
  if (processes === 1) return undefined;
  return {
    rank: own,
    size: processes,
    localRank:
      localRank.text === undefined
        ? Math.min(Math.max(given, 0), processes - 1)
        : numberOf(localRank, 0, processes - 1),
    host: hostname(),
    masterHost: textOf({ name: "MASTER_ADDR", text: env.MASTER_ADDR }),
    masterPort: numberOf({ name: "MASTER_PORT", text: env.MASTER_PORT }, 1, 65535),
    launcherServes: env.TORCHELASTIC_USE_AGENT_STORE === "True",
    attempt: env.TORCHELASTIC_RESTART_COUNT ?? "0",
  };
}

/** A variable of the environment. */
interface Variable {
  readonly name: string;
  readonly text: string | undefined;
}

function textOf({ name, text }: Variable): string {
  if (text !== undefined && text !== "") return text;
  throw new InstructPix2PixError(
    "ERR_DISTRIBUTED",
    `${name} is not set, but this process is one of several, which meet at rank 0: MASTER_ADDR and MASTER_PORT say where`,
  );
}

function numberOf(variable: Variable, least: number, most: number): number {
  const text = textOf(variable);
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new InstructPix2PixError(
    "ERR_DISTRIBUTED",
    `the environment's ${variable.name} is ${quote(text)}, which is not a whole number from ${least} to ${most}`,
  );
}

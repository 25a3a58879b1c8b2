import { readFileSync, writeFileSync } from "node:fs";

/** The variable by which `ip2p launch` tells a process where to leave its status. */
export const RANK_STATUS = "IP2P_RANK_STATUS";

/** What a launcher wants to know of a process that has died. */
export interface RankStatus {
  /** The optimizer step that it was making; 0 before the first. */
  readonly step: number;
  /** The rank of the process that has failed, if this one ends for that reason. */
  readonly victimOf?: number;
  /** Whether that process has given no sign of life, and is not about to end by itself. */
  readonly isSilent?: boolean;
}

/** Leaves the status for the launcher, if there is one. It is only for messages, so that a failure is ignored. */
export function writeRankStatus(status: RankStatus): void {
  const path = process.env.IP2P_RANK_STATUS;
  if (path === undefined) return;
  try {
    writeFileSync(path, JSON.stringify(status));
  } catch {
    // The launcher's folder has gone.
  }
}

/** The last status that was left at `path`; that before the first step if there is none. */
export function readRankStatus(path: string): RankStatus {
  try {
    const { step, victimOf, isSilent } = JSON.parse(readFileSync(path, "utf8")) as Partial<RankStatus>;
    const victim = typeof victimOf === "number" && { victimOf, isSilent: isSilent === true };
    return { step: typeof step === "number" ? step : 0, ...victim };
  } catch {
    return { step: 0 };
  }
}

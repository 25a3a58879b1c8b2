import { native } from "../runtime/native.js";
import { packageVersion } from "../runtime/package-version.js";
import type { Place } from "./place.js";
import { groupError, type StoreClient } from "./store-client.js";

/** A process of the group. */
export interface Member {
  readonly host: string;
  readonly pid: number;
  /** Versions that have to be the same. */
  readonly versions: string;
}

/**
 * All processes in the order of their ranks, once they have come.
 *
 * @throws `ERR_DISTRIBUTED` naming those that have not come within the time, or one of another version
 */
export async function meet(
  store: StoreClient,
  place: Place,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Member[]> {
  const { rank, size, host } = place;
  const versions = `instruct-pix2pix ${packageVersion()} with libtorch ${native().systemInfo().libtorch}`;
  const me: Member = { host, pid: process.pid, versions };
  await store.set(`member/${rank}`, JSON.stringify(me));
  if (rank !== 0) {
    // Rank 0 waits as long for the others, and then says who is missing.
    const text = await store.get("members", 2 * timeoutMs, signal);
    if (text === undefined) throw groupError(`rank 0 did not begin within ${(2 * timeoutMs) / 1000} s`);
    const answer = JSON.parse(text) as Member[] | { error: string };
    if (!Array.isArray(answer)) throw groupError(answer.error);
    return answer;
  }
  const members: (Member | undefined)[] = [];
  const end = performance.now() + timeoutMs;
  for (let other = 0; other < size; other++) {
    const text = await store.get(`member/${other}`, Math.max(0, Math.round(end - performance.now())), signal);
    members.push(text === undefined ? undefined : (JSON.parse(text) as Member));
  }
  const flaw = flawOf(members, timeoutMs);
  await store.set("members", JSON.stringify(flaw === undefined ? members : { error: flaw }));
  if (flaw !== undefined) throw groupError(flaw);
  return members as Member[];
}

function flawOf(members: readonly (Member | undefined)[], timeoutMs: number): string | undefined {
  const missing = [...members.keys()].filter((rank) => !members[rank]);
  if (missing.length > 0) {
    const which = missing.length === 1 ? `rank ${missing[0]}` : `ranks ${missing.join(", ")}`;
    return `${which} did not come within ${timeoutMs / 1000} s: ${members.length - missing.length} of ${members.length} processes are there`;
  }
  const mine = members[0]!;
  const other = members.findIndex((member) => member!.versions !== mine.versions);
  return other < 0
    ? undefined
    : `rank ${other} (${members[other]!.host}) runs ${members[other]!.versions}, but rank 0 (${mine.host}) ${mine.versions}`;
}

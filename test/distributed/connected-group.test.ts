import { afterEach, expect, onTestFinished, test, vi } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { ConnectedGroup } from "../../lib/distributed/connected-group.js";
import type { RankStatus } from "../../lib/distributed/rank-status.js";
import { storeAt } from "./memory-store.js";

vi.mock("../../lib/runtime/native.js", async (original) => ({
  ...(await original<object>()),
  native: () => memory.memoryAddon,
  cancellable: async (signal: AbortSignal | undefined, run: (token: object | null) => Promise<unknown>) => {
    const token = new memory.memoryAddon.CancelToken();
    signal?.addEventListener("abort", () => token.cancel(), { once: true });
    return run(token);
  },
}));
const memory = await vi.hoisted(async () => import("./memory-store.js"));
// Of hosts that know their own addresses.
vi.mock("../../lib/distributed/network.js", () => ({ checkNetwork: async (host: string) => network(host) }));
const network = vi.fn((_host: string) => "10.0.0.1");

let port = 1000;
const open: ConnectedGroup[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((group) => group.close()));
});

/** Processes that are only imagined. */
async function connecting(size: number, timeoutMs = 2_000, status: RankStatus[] = []) {
  port += 1;
  const place = (rank: number) => ({
    ...{ rank, size, localRank: rank, host: `host${rank}`, masterHost: "host0", masterPort: port },
    ...{ launcherServes: false, attempt: "0" },
  });
  return Promise.allSettled(
    Array.from({ length: size }, (_, rank) =>
      ConnectedGroup.connect(place(rank), { timeoutMs, onStatus: (each) => rank === 0 && status.push(each) }),
    ),
  );
}

async function connect(...args: Parameters<typeof connecting>): Promise<ConnectedGroup[]> {
  const groups = (await connecting(...args)).map((outcome) => {
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  });
  open.push(...groups);
  return groups;
}

const nothing = { stops: false, hasSamples: false };

test("processes agree, share rank 0's values and gather at rank 0", async () => {
  const groups = await connect(3);
  for (const stopping of [-1, 2, -1]) {
    const said = await Promise.all(
      groups.map((group) => group.agree({ stops: group.rank === stopping, hasSamples: group.rank === 1 })),
    );
    for (const each of said) expect(each).toEqual({ stops: stopping >= 0, hasSamples: true });
  }
  // What has been read is removed.
  const kept = [...storeAt(port).values.keys(), ...storeAt(port).numbers.keys()];
  expect(kept.filter((key) => key.includes("agreement")).sort()).toEqual([
    "ip2p/0/agreement/2",
    "ip2p/0/agreement/2/all",
  ]);
  const shared = await Promise.all(groups.map((group) => group.share(async () => ({ seed: "7", by: group.rank }))));
  expect(shared).toEqual([0, 1, 2].map(() => ({ seed: "7", by: 0 })));
  const gathered = await Promise.all(groups.map((group) => group.gather("names", `rank ${group.rank}`)));
  expect(gathered).toEqual([["rank 0", "rank 1", "rank 2"], undefined, undefined]);
});

test("a failure reaches all at the next agreement, with rank, host, step and cause, and nothing hangs", async () => {
  const status: RankStatus[] = [];
  const groups = await connect(3, 2_000, status);
  for (const group of groups) group.reached(7);
  await groups[2]!.fail(new InstructPix2PixError("ERR_DATASET", "row 3 is broken"));
  for (const group of groups.slice(0, 2)) {
    await expect(group.agree(nothing)).rejects.toMatchObject({
      code: "ERR_DISTRIBUTED",
      message: "rank 2 (host2) failed in step 7: row 3 is broken",
    });
    // All can still be reached, so that the last step can be saved.
    expect(group.isWhole).toBe(true);
  }
  expect(status.at(-1)).toEqual({ step: 7, victimOf: 2, isSilent: false });
  await groups[1]!.gather("generators", "of rank 1");
  await groups[2]!.gather("generators", "of rank 2");
  expect(await groups[0]!.gather("generators", "of rank 0", 1_000)).toEqual(["of rank 0", "of rank 1", "of rank 2"]);
});

test("an abort of one process is an abort of all", async () => {
  const groups = await connect(2);
  await groups[0]!.fail(new InstructPix2PixError("ERR_ABORTED", "the operation was aborted"));
  await expect(groups[1]!.agree(nothing)).rejects.toMatchObject({ code: "ERR_ABORTED" });
});

test("a failure also ends waits that are under way", async () => {
  const groups = await connect(3);
  const waiting = groups.slice(1).map((group) => group.share(async () => "never asked"));
  const outcomes = Promise.allSettled(waiting);
  await groups[0]!.fail(new InstructPix2PixError("ERR_IO", "the disk is full"));
  for (const outcome of await outcomes)
    expect(outcome).toMatchObject({ reason: { message: "rank 0 (host0) failed: the disk is full" } });
});

test("a process without signs of life is named, and so is a store that is gone or hangs", async () => {
  const silent = await connect(3, 500);
  silent[1]!.reached(4);
  await new Promise((resolve) => setTimeout(resolve, 300));
  // As if it had been killed: no more heartbeats, and no word.
  storeAt(port).frozen.add("ip2p/0/heartbeat/1");
  const outcomes = await Promise.allSettled([silent[0]!.agree(nothing), silent[2]!.agree(nothing)]);
  for (const outcome of outcomes)
    expect(outcome).toMatchObject({
      reason: {
        code: "ERR_DISTRIBUTED",
        message: expect.stringMatching(/^rank 1 \(host1\) has not answered for .* in step 4$/),
      },
    });
  expect(silent[0]!.isWhole).toBe(false);
  // Exchanges end a little later than waits.
  await expect.poll(() => silent[0]!.signal.aborted, { timeout: 60_000 }).toBe(true);

  for (const [how, words] of [
    ["gone", /^rank 0 \(host0\) has gone, or the connection to it, and with it the processes' store/],
    ["hangs", /^rank 0 \(host0\) does not answer, and with it the processes' store/],
  ] as const) {
    const groups = await connect(2, 500);
    const waiting = expect(groups[1]!.agree(nothing)).rejects.toMatchObject({
      code: "ERR_DISTRIBUTED",
      message: expect.stringMatching(words),
    });
    storeAt(port)[how] = true;
    await waiting;
    open.splice(0);
  }
});

test("who cannot be connected with says so to the others, who do not wait any longer", async () => {
  network.mockImplementation((host) => {
    if (host === "host1") throw new InstructPix2PixError("ERR_DISTRIBUTED", "host1 has no network");
    return "10.0.0.1";
  });
  memory.memoryAddon.openProcessGroup.mockReturnValue(new Promise(() => {}));
  onTestFinished(() => {
    network.mockReset().mockReturnValue("10.0.0.1");
    memory.memoryAddon.openProcessGroup.mockReset().mockResolvedValue(memory.joined);
  });
  const outcomes = await connecting(3, 60_000);
  expect(outcomes.map((outcome) => (outcome as PromiseRejectedResult).reason.message)).toEqual([
    "rank 1 (host1) failed: host1 has no network",
    "host1 has no network",
    "rank 1 (host1) failed: host1 has no network",
  ]);

  // Nobody knows why.
  network.mockReset().mockReturnValue("eth1 (10.0.0.1)");
  for (const outcome of await connecting(2, 300))
    expect(outcome).toMatchObject({
      reason: {
        code: "ERR_DISTRIBUTED",
        message: expect.stringMatching(/host\d, which listens at eth1 \(10\.0\.0\.1\), and the other/),
      },
    });
});

test("processes that do not come, or are of another version, are named", async () => {
  port += 1;
  const place = {
    localRank: 0,
    host: "host",
    masterHost: "host0",
    masterPort: port,
    launcherServes: false,
    attempt: "0",
  };
  const met = [0, 2].map((rank) => ConnectedGroup.connect({ ...place, rank, size: 3 }, { timeoutMs: 300 }));
  for (const outcome of await Promise.allSettled(met))
    expect(outcome).toMatchObject({
      reason: { code: "ERR_DISTRIBUTED", message: "rank 1 did not come within 0.3 s: 2 of 3 processes are there" },
    });
});

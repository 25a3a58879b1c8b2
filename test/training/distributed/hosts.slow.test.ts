import { existsSync } from "node:fs";
import { test as base, expect } from "vitest";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { finalWeights, metrics, TemporaryFolder, tinyOptions, upTo } from "../reliability/tiny-run.js";
import { NOWHERE, TwoHosts } from "./hosts.js";
import { Launched } from "./launched.js";

const refusal = TwoHosts.refusal();

const test = base.extend<{ hosts: TwoHosts; folder: TemporaryFolder }>({
  hosts: async ({ skip }, use) => {
    skip(refusal !== undefined, refusal);
    using hosts = new TwoHosts();
    await use(hosts);
  },
  // biome-ignore lint/correctness/noEmptyPattern: it depends on no other.
  folder: async ({}, use) => {
    using folder = new TemporaryFolder();
    await use(folder);
  },
});

// As many threads on every host, since the order of sums follows from their number.
const options = (outputDir: string, more: Partial<TrainInput> = {}) =>
  tinyOptions(outputDir, { trainBatchSize: 1, maxTrainSteps: 6, numThreads: 1, distributedTimeout: 8, ...more });

interface Given {
  known?: readonly [string, string];
  variables?: readonly [NodeJS.ProcessEnv, NodeJS.ProcessEnv];
}

/** One rank on each host. */
function launchOn(hosts: TwoHosts, trained: TrainInput, { known, variables }: Given = {}): Launched[] {
  return hosts.names.map((_, host) => {
    const place = ["--num_machines=2", `--machine_rank=${host}`, `--main_process_ip=${hosts.addresses[0]}`];
    return new Launched(2, trained, place, { prefix: hosts.prefix(host, known), env: variables?.[host] });
  });
}

const endOf = (launched: readonly Launched[]) => Promise.all(launched.map(({ ended }) => ended));

test("two hosts train to the bits of one", async ({ hosts, folder }) => {
  const patient = { distributedTimeout: 60 };
  const ends = await endOf(launchOn(hosts, options(folder.at("two"), patient)));
  expect(ends.map(({ status, stderr }) => [status, stderr])).toEqual([
    [0, ""],
    [0, ""],
  ]);
  const { status, stderr } = await new Launched(2, options(folder.at("one"), patient)).ended;
  expect([status, stderr]).toEqual([0, ""]);
  expect(finalWeights(folder.at("two"))).toBe(finalWeights(folder.at("one")));
  expect(metrics(folder.at("two")).map(({ step }) => step)).toEqual(upTo(6));
});

test.for([
  ["a cable that is pulled out", (hosts: TwoHosts) => hosts.unplug()],
  ["packets that are lost", (hosts: TwoHosts) => hosts.losePackets()],
] as const)("%s: both hosts' processes end, and name the other one", async ([, cut], { hosts, folder }) => {
  const launched = launchOn(hosts, options(folder.at("cut"), { maxTrainSteps: 100_000 }));
  await launched[0]!.reached(3);
  const ids = launched.flatMap(({ ranks }) => ranks);
  cut(hosts);
  for (const [host, { status, stderr }] of (await endOf(launched)).entries()) {
    const [own, other] = [host, 1 - host].map((each) => `rank ${each} \\(${hosts.names[each]}\\)`);
    expect(stderr).toMatch(new RegExp(`^ip2p: ${own} ended .*: ${other} (has not answered|does not answer)`, "m"));
    expect(status).not.toBe(0);
  }
  for (const id of ids) expect(existsSync(`/proc/${id}`), `process ${id}`).toBe(false);
});

test("a wrong interface is named to both hosts, and so is a name of the wrong address", async ({ hosts, folder }) => {
  const refused = async (given: Given) => {
    const ends = await endOf(launchOn(hosts, options(folder.at("none")), given));
    expect(ends.map(({ status }) => status)).toEqual([1, 1]);
    return ends.map(({ stderr }) => stderr);
  };
  const named = (name: string) => ({ GLOO_SOCKET_IFNAME: name });
  for (const said of await refused({ variables: [{}, named("eth9")] }))
    expect(said).toContain(`GLOO_SOCKET_IFNAME names "eth9", but host-b has lo, eth0, eth1`);
  for (const said of await refused({ variables: [named(NOWHERE), named(NOWHERE)] }))
    expect(said).toMatch(/host-[ab], which listens at eth1 \(10\.78\.[01]\.1\), and the other processes cannot reach/);
  for (const said of await refused({ known: ["127.0.1.1", "127.0.1.1"] }))
    expect(said).toMatch(/host-[ab] knows itself as 127\.0\.1\.1, where other hosts cannot reach it; .*eth0/);
});

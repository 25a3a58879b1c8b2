import { expect, test } from "vitest";
import { placeFromEnvironment } from "../../lib/distributed/place.js";

const torchrun = { RANK: "1", WORLD_SIZE: "3", LOCAL_RANK: "0", MASTER_ADDR: "10.0.0.1", MASTER_PORT: "29500" };

test("torchrun's variables, or those of a step of Slurm, give a process its place", () => {
  const place = { rank: 1, size: 3, localRank: 0, masterHost: "10.0.0.1", masterPort: 29500 };
  expect(placeFromEnvironment(torchrun)).toMatchObject({ ...place, launcherServes: false, attempt: "0" });
  const agent = { TORCHELASTIC_USE_AGENT_STORE: "True", TORCHELASTIC_RESTART_COUNT: "2" };
  expect(placeFromEnvironment({ ...torchrun, ...agent })).toMatchObject({ launcherServes: true, attempt: "2" });
  const { RANK: _, WORLD_SIZE: __, LOCAL_RANK: ___, ...meeting } = torchrun;
  const slurm = { SLURM_PROCID: "1", SLURM_STEP_NUM_TASKS: "3", SLURM_LOCALID: "0" };
  expect(placeFromEnvironment({ ...meeting, ...slurm })).toMatchObject(place);
  // A batch script of Slurm is no step, and an allocation alone starts no processes.
  expect(placeFromEnvironment(slurm)).toBeUndefined();
  expect(placeFromEnvironment({ ...meeting, ...slurm, SLURM_STEP_NUM_TASKS: "1" })).toBeUndefined();
});

test("--local_rank of old launchers counts where there is no LOCAL_RANK, and is refused where there is no rank", () => {
  const { LOCAL_RANK: _, ...old } = torchrun;
  expect(placeFromEnvironment(old, 1)).toMatchObject({ rank: 1, localRank: 1 });
  expect(placeFromEnvironment(torchrun, 1)).toMatchObject({ rank: 1, localRank: 0 });
  // The only process may be told that it is the first one.
  expect([placeFromEnvironment({}, 0), placeFromEnvironment({}, -1)]).toEqual([undefined, undefined]);
  expect(() => placeFromEnvironment({}, 1)).toThrow(
    expect.objectContaining({
      code: "ERR_DISTRIBUTED",
      message: expect.stringMatching(/local_rank 1 .*RANK is not set/),
    }),
  );
});

test("a process without a rank, or the only one, trains alone", () => {
  expect(placeFromEnvironment({})).toBeUndefined();
  expect(placeFromEnvironment({ WORLD_SIZE: "2" })).toBeUndefined();
  expect(placeFromEnvironment({ RANK: "0", WORLD_SIZE: "1" })).toBeUndefined();
});

test.each([
  [{ RANK: "3" }, "RANK"],
  [{ RANK: "-1" }, "RANK"],
  [{ WORLD_SIZE: "two" }, "WORLD_SIZE"],
  [{ WORLD_SIZE: "5000" }, "WORLD_SIZE"],
  [{ LOCAL_RANK: "" }, "LOCAL_RANK"],
  [{ MASTER_ADDR: undefined }, "MASTER_ADDR"],
  [{ MASTER_PORT: "0" }, "MASTER_PORT"],
])("%j is refused by name", (wrong, name) => {
  expect(() => placeFromEnvironment({ ...torchrun, ...wrong })).toThrow(
    expect.objectContaining({ code: "ERR_DISTRIBUTED", message: expect.stringContaining(name) }),
  );
});

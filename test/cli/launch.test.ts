import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readAccelerateConfig } from "../../lib/cli/launch/config.js";
import { processesOfHost } from "../../lib/cli/launch/gpus.js";
import { splitCommand } from "../../lib/cli/launch/split.js";

const folder = mkdtempSync(join(tmpdir(), "ip2p-launch-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("accelerate's command lines are split into the launcher's options and the command", () => {
  const own = ["--multi_gpu", "--num-processes", "2", "--mixed_precision=bf16"];
  const rest = ["--seed", "1", "--num_processes", "7"];
  for (const [name, command] of [
    [["train_instruct_pix2pix.py"], "train"],
    [["examples/instruct_pix2pix/train_instruct_pix2pix_sdxl.py"], "train"],
    [["train"], "train"],
    [["ip2p", "check-dataset"], "check-dataset"],
    [["--", "train"], "train"],
  ] as const)
    expect(splitCommand([...own, ...name, ...rest])).toEqual({ own, passedOn: [command, ...rest] });
  expect(() => splitCommand(own)).toThrow(expect.objectContaining({ code: "ERR_USAGE" }));
  expect(() => splitCommand(["train_dreambooth.py"])).toThrow(/train_dreambooth\.py.*cannot be started/);
});

test("a file of `accelerate config` is read, and what it asks for beyond this is refused by name", () => {
  const path = join(folder, "accelerate.yaml");
  const read = (text: string) => {
    writeFileSync(path, text);
    return readAccelerateConfig(path, {});
  };
  expect(
    read(
      "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 4\nnum_machines: 2\nmachine_rank: 1\nmain_process_ip: 10.0.0.1\nmain_process_port: 29501\nmixed_precision: 'no'\nuse_cpu: true\n",
    ),
  ).toEqual({
    ...{ num_processes: 4, num_machines: 2, machine_rank: 1, main_process_ip: "10.0.0.1" },
    ...{ main_process_port: 29501, mixed_precision: "no" },
  });
  expect(() => read("distributed_type: DEEPSPEED\n")).toThrow(/DEEPSPEED.*not supported/);
  expect(() => read("num_processes: many\n")).toThrow(/num_processes/);
  expect(() => read("a: [")).toThrow(expect.objectContaining({ code: "ERR_CONFIG" }));
  expect(() => readAccelerateConfig(join(folder, "none.yaml"), {})).toThrow(/does not exist/);
  expect(readAccelerateConfig(undefined, { HF_HOME: folder })).toEqual({});
});

test("a host gets one process, or one for each GPU that is meant", () => {
  const four = () => 4;
  expect(processesOfHost(undefined, false, {}, four)).toBe(1);
  expect(processesOfHost(undefined, true, {}, four)).toBe(4);
  expect(processesOfHost("all", true, {}, four)).toBe(4);
  expect(processesOfHost("0, 2", false, {}, four)).toBe(2);
  expect(processesOfHost(undefined, true, { CUDA_VISIBLE_DEVICES: "1,2,3" }, four)).toBe(3);
  expect(processesOfHost(undefined, true, {}, () => 0)).toBe(1);
});

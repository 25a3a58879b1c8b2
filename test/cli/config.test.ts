import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, expect, test } from "vitest";
import { parse } from "yaml";
import { runCommandLine } from "../../lib/cli/dispatch.js";
import { readAccelerateConfig } from "../../lib/cli/launch/config.js";
import { groupsOfCores, parseList } from "../../lib/cli/launch/cores.js";

const folder = mkdtempSync(join(tmpdir(), "ip2p-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function config(argv: readonly string[], answers: readonly string[] = []) {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  stdin.end(answers.map((answer) => `${answer}\n`).join(""));
  const status = await runCommandLine(["config", ...argv], { stdin, stdout, stderr, env: { HF_HOME: folder } });
  return { status, stdout: String(stdout.read() ?? ""), stderr: String(stderr.read() ?? "") };
}

test("the default is written where accelerate's is, and is read there", async () => {
  const path = join(folder, "accelerate", "default_config.yaml");
  expect(await config(["--default"])).toEqual({ status: 0, stdout: `${path}\n`, stderr: "" });
  expect(parse(readFileSync(path, "utf8"))).toMatchObject({
    distributed_type: "NO",
    num_processes: 1,
    num_machines: 1,
  });
  expect(readAccelerateConfig(undefined, { HF_HOME: folder })).toMatchObject({
    num_processes: 1,
    mixed_precision: "no",
  });
});

test("answers are asked for until they fit, and other keys of the file are kept", async () => {
  const path = join(folder, "two.yaml");
  const { status, stderr } = await config([`--config_file=${path}`], ["2", "7", "1", "10.0.0.1", "", "5", "4", "bf16"]);
  expect(status).toBe(0);
  expect(stderr).toContain('"7" is not a number from 0 to 1');
  expect(stderr).toContain('"5" is not a multiple of 2');
  expect(parse(readFileSync(path, "utf8"))).toMatchObject({
    ...{ distributed_type: "MULTI_CPU", num_machines: 2, machine_rank: 1, main_process_ip: "10.0.0.1" },
    ...{ main_process_port: 29500, num_processes: 4, mixed_precision: "bf16" },
  });

  // An existing file gives what is in brackets, and what is not asked for.
  writeFileSync(
    path,
    "distributed_type: MULTI_GPU\nnum_processes: 3\nmixed_precision: fp16\ngpu_ids: 0,1,2\ndebug: true\n",
  );
  expect((await config([`--config_file=${path}`], ["", "", ""])).status).toBe(0);
  expect(parse(readFileSync(path, "utf8"))).toMatchObject({
    ...{ distributed_type: "MULTI_GPU", num_processes: 3, mixed_precision: "fp16", gpu_ids: "0,1,2", debug: true },
  });
});

test("an input that ends, and a file that cannot be launched, are refused and change nothing", async () => {
  const path = join(folder, "none.yaml");
  expect(await config([`--config_file=${path}`], ["1"])).toMatchObject({ status: 2 });
  expect(existsSync(path)).toBe(false);
  writeFileSync(path, "distributed_type: DEEPSPEED\n");
  expect((await config([`--config_file=${path}`], ["1", "1", "no"])).stderr).toMatch(/DEEPSPEED.*not supported/);
  expect(readFileSync(path, "utf8")).toBe("distributed_type: DEEPSPEED\n");
});

test("processes get neighbouring cores, and whole ones where there are enough", () => {
  // Two sockets of two cores with two threads each, numbered as Linux does.
  const processors = Array.from({ length: 8 }, (_, id) => ({ id, core: id % 2, socket: Math.floor(id / 2) % 2 }));
  expect(groupsOfCores(processors, 2)).toEqual([
    [0, 1, 4, 5],
    [2, 3, 6, 7],
  ]);
  expect(groupsOfCores(processors, 4)).toEqual([
    [0, 4],
    [1, 5],
    [2, 6],
    [3, 7],
  ]);
  expect(groupsOfCores(processors, 8)!.flat().sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(groupsOfCores(processors, 3)!.map((group) => group.length)).toEqual([2, 2, 4]);
  expect(groupsOfCores(processors, 9)).toBe(undefined);
  expect(parseList("0-3,8,10-11\n")).toEqual([0, 1, 2, 3, 8, 10, 11]);
});

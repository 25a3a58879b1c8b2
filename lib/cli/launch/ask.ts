import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { createInterface } from "node:readline/promises";
import { parse, stringify } from "yaml";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { ioError } from "../../files/io-error.js";
import type { CommandIo } from "../command.js";
import { type AccelerateConfig, accelerateConfigPath, readAccelerateConfig } from "./config.js";

/** What `accelerate config` writes for one process, with its own names. */
const DEFAULTS = {
  compute_environment: "LOCAL_MACHINE",
  debug: false,
  distributed_type: "NO",
  enable_cpu_affinity: true,
  machine_rank: 0,
  main_training_function: "main",
  mixed_precision: "no",
  num_machines: 1,
  num_processes: 1,
  rdzv_backend: "static",
  same_network: true,
  use_cpu: true,
};

interface Question {
  key: keyof AccelerateConfig;
  text: string;
  fallback: string | number;
  /** → the answer's value; undefined if it is none */
  read(answer: string): string | number | undefined;
  expected: string;
}

const number =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (answer: string): number | undefined =>
    /^\d{1,9}$/.test(answer) && Number(answer) >= least && Number(answer) <= most ? Number(answer) : undefined;

/** Runs `ip2p config`. */
export async function runConfig(
  values: { default: boolean; configFile: string | undefined },
  io: CommandIo,
): Promise<number> {
  const path = values.configFile ?? accelerateConfigPath(io.env);
  const isThere = !values.default && existsSync(path);
  // A file that cannot be launched is refused, not written over.
  const before = isThere ? readAccelerateConfig(path, io.env) : {};
  const kept: Record<string, unknown> = isThere ? parse(readFileSync(path, "utf8")) : {};
  const answers = values.default ? {} : await ask(before, io);
  const config: Record<string, unknown> = { ...DEFAULTS, ...kept, ...answers };
  if (Number(config.num_machines) === 1)
    for (const key of ["main_process_ip", "main_process_port"]) if (!Object.hasOwn(answers, key)) delete config[key];
  if (Number(config.num_processes) > 1 && config.distributed_type === "NO") config.distributed_type = "MULTI_CPU";
  if (Number(config.num_processes) === 1) config.distributed_type = "NO";
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, stringify(config));
  } catch (error) {
    throw ioError("write", path, error);
  }
  io.stdout.write(`${path}\n`);
  return 0;
}

/** @throws `ERR_USAGE` where the input ends before the last answer */
async function ask(before: AccelerateConfig, io: CommandIo): Promise<AccelerateConfig> {
  const reader = createInterface({
    input: io.stdin ?? process.stdin,
    terminal: false,
    crlfDelay: Number.POSITIVE_INFINITY,
  });
  const lines = reader[Symbol.asyncIterator]();
  const answers: Record<string, string | number> = {};
  const put = async ({ key, text, fallback, read, expected }: Question): Promise<number | string> => {
    const known = before[key];
    const usual = typeof known === "string" || typeof known === "number" ? known : fallback;
    for (;;) {
      io.stderr.write(`${text} [${usual}]: `);
      const { value: line, done } = await lines.next();
      if (done) throw new InstructPix2PixError("ERR_USAGE", `${text}: the input has ended; --default asks nothing`);
      const answer = (line as string).trim();
      const value = answer === "" ? read(String(usual)) : read(answer);
      if (value !== undefined) {
        answers[key] = value;
        return value;
      }
      io.stderr.write(`${quote(answer)} is not ${expected}.\n`);
    }
  };
  try {
    const hosts = Number(
      await put({
        key: "num_machines",
        text: "How many hosts?",
        fallback: 1,
        read: number(1),
        expected: "a number from 1",
      }),
    );
    if (hosts > 1) {
      await put({
        ...{ key: "machine_rank", text: "Which of them is this one, from 0?", fallback: 0 },
        ...{ read: number(0, hosts - 1), expected: `a number from 0 to ${hosts - 1}` },
      });
      await put({
        ...{ key: "main_process_ip", text: "What is the address of host 0?", fallback: "" },
        ...{ read: (answer) => (/^\S+$/.test(answer) ? answer : undefined), expected: "an address" },
      });
      await put({
        ...{ key: "main_process_port", text: "Which port of host 0 is free?", fallback: 29500 },
        ...{ read: number(1, 65535), expected: "a number from 1 to 65535" },
      });
    }
    await put({
      ...{ key: "num_processes", text: "How many processes, on all hosts together?", fallback: hosts },
      read: (answer) => {
        const count = number(1, 1023)(answer);
        return count !== undefined && count % hosts === 0 ? count : undefined;
      },
      expected: hosts === 1 ? "a number from 1 to 1023" : `a multiple of ${hosts}`,
    });
    await put({
      ...{ key: "mixed_precision", text: "Mixed precision: no, fp16 or bf16?", fallback: "no" },
      read: (answer) => (["no", "fp16", "bf16"].includes(answer) ? answer : undefined),
      expected: "no, fp16 or bf16",
    });
    return answers as AccelerateConfig;
  } finally {
    reader.close();
  }
}

import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { availableParallelism, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InstructPix2PixError } from "../../core/errors.js";
import { RANK_STATUS, type RankStatus, readRankStatus } from "../../distributed/rank-status.js";
import { findProgram } from "../../runtime/child-environment.js";
import { type ChildResult, Lines, nodeProgram, runProgram } from "../../runtime/child-process.js";
import type { Environment } from "../../runtime/platform.js";
import type { CommandIo } from "../command.js";
import { LIFELINE } from "../lifeline.js";
import { statusOfSignal } from "../signals.js";
import { type AccelerateConfig, readAccelerateConfig } from "./config.js";
import { groupsOfCores, ownProcessors } from "./cores.js";
import { processesOfHost } from "./gpus.js";
import type { LaunchValues } from "./options.js";

/** The program itself. */
const MAIN = fileURLToPath(new URL("../main.js", import.meta.url));

/** How long processes may take to end after one has died, and after the launcher was told to end, in milliseconds. */
const AFTER_DEATH_MS = 5_000;
const AFTER_SIGNAL_MS = 30_000;

const DEFAULT_PORT = 29500;

/** The processes to start on this host. */
interface Plan {
  size: number;
  firstRank: number;
  local: number;
  masterHost: string;
  /** 0 for any free one. */
  masterPort: number;
  threads: number;
  /** For all processes. */
  variables: Environment;
  /** The cores of each process of this host; undefined where they are not divided. */
  cores: readonly (readonly number[])[] | undefined;
  command: readonly string[];
  logDir: string | undefined;
}

/** A process that has ended. */
interface Death {
  rank: number;
  result: ChildResult;
  status: RankStatus;
  /** Whether the launcher had told it to end. */
  wasEnded: boolean;
  /** The last error that it printed; empty if none. */
  said: string;
}

/** Runs `ip2p launch`. */
export async function runLaunch(values: LaunchValues, command: readonly string[], io: CommandIo): Promise<number> {
  const plan = planOf(values, command, io.env);
  for (let attempt = 0; ; attempt++) {
    const death = await runOnce(plan, attempt, io);
    if (!death) return 0;
    if (!io.signal?.aborted) io.stderr.write(`ip2p: ${describeDeath(death)}\n`);
    if (io.signal?.aborted || attempt >= values.maxRestarts) return statusOf(death.result);
    io.stderr.write(`ip2p: starting again from the last checkpoint (${attempt + 1} of ${values.maxRestarts})\n`);
    plan.command = resuming(plan.command);
  }
}

/** @throws `ERR_USAGE` for numbers that contradict one another */
function planOf(values: LaunchValues, command: readonly string[], env: Environment): Plan {
  const refuse = (message: string) => new InstructPix2PixError("ERR_USAGE", message);
  const file = readAccelerateConfig(values.configFile, env);
  const machines = values.numMachines > 1 ? values.numMachines : (file.num_machines ?? values.numMachines);
  const machine = values.machineRank > 0 ? values.machineRank : (file.machine_rank ?? values.machineRank);
  const gpus = values.gpuIds ?? file.gpu_ids;
  const size = values.numProcesses ?? file.num_processes ?? machines * processesOfHost(gpus, values.multiGpu, env);
  if (size % machines !== 0)
    throw refuse(`--num_processes ${size} counts the processes of all hosts, and cannot be shared among ${machines}`);
  if (machine >= machines) throw refuse(`there is no host ${machine} among ${machines}; --machine_rank counts from 0`);
  const masterHost = values.mainProcessIp ?? file.main_process_ip ?? (machines === 1 ? "127.0.0.1" : undefined);
  if (masterHost === undefined) throw refuse("several hosts need --main_process_ip, the address of host 0");
  const local = size / machines;
  const precision = values.mixedPrecision ?? file.mixed_precision;
  const given = command.some((argument) => /^--mixed[_-]precision(=|$)/.test(argument));
  return {
    size,
    local,
    firstRank: machine * local,
    masterHost,
    masterPort: values.mainProcessPort ?? file.main_process_port ?? (machines === 1 ? 0 : DEFAULT_PORT),
    threads: values.numCpuThreadsPerProcess ?? Math.max(1, Math.floor(availableParallelism() / local)),
    variables: gpus === undefined || gpus === "all" ? {} : { CUDA_VISIBLE_DEVICES: gpus },
    cores: coresOf(values, file, local),
    command:
      command[0] === "train" && precision !== undefined && !given
        ? [...command, `--mixed_precision=${precision}`]
        : command,
    logDir: values.logDir,
  };
}

/** One process alone takes all cores. */
function coresOf(values: LaunchValues, file: AccelerateConfig, local: number): number[][] | undefined {
  const wanted = values.enableCpuAffinity && (file.enable_cpu_affinity ?? true);
  const processors = wanted && local > 1 ? ownProcessors() : undefined;
  return processors && groupsOfCores(processors, local);
}

/** Starts the processes once. → the one whose end ended the others; undefined if all ended well */
async function runOnce(plan: Plan, attempt: number, io: CommandIo): Promise<Death | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-launch-"));
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  io.signal?.addEventListener("abort", onSignal, { once: true });
  if (io.signal?.aborted) stop.abort();
  try {
    const masterPort = plan.masterPort === 0 ? await freePort(plan.masterHost) : plan.masterPort;
    const deaths: Death[] = [];
    const silent = new Set<number>();
    // One that hangs does not hear that it is told to end.
    const killAfter = (rank: number) => (io.signal?.aborted ? AFTER_SIGNAL_MS : silent.has(rank) ? 0 : AFTER_DEATH_MS);
    const run = async (localRank: number) => {
      const rank = plan.firstRank + localRank;
      const status = join(folder, `rank-${rank}.json`);
      const { said, ...result } = await runRank(
        plan,
        { rank, localRank, masterPort, attempt, status, killAfter },
        stop.signal,
        io,
      );
      if (result.status === 0) return;
      const left = readRankStatus(status);
      if (left.isSilent) silent.add(left.victimOf!);
      deaths.push({ rank, result, status: left, wasEnded: stop.signal.aborted, said });
      stop.abort();
    };
    await Promise.all(Array.from({ length: plan.local }, (_, localRank) => run(localRank)));
    return culpritOf(deaths);
  } finally {
    io.signal?.removeEventListener("abort", onSignal);
    rmSync(folder, { recursive: true, force: true });
  }
}

interface RankPlace {
  rank: number;
  localRank: number;
  masterPort: number;
  attempt: number;
  status: string;
  killAfter(rank: number): number;
}

async function runRank(
  plan: Plan,
  place: RankPlace,
  signal: AbortSignal,
  io: CommandIo,
): Promise<ChildResult & { said: string }> {
  const { rank, localRank, masterPort, attempt, status, killAfter } = place;
  const mark = plan.size > 1 ? `[rank ${rank}] ` : "";
  if (plan.logDir !== undefined) mkdirSync(plan.logDir, { recursive: true });
  const log =
    plan.logDir === undefined ? undefined : createWriteStream(join(plan.logDir, `rank-${rank}.log`), { flags: "a" });
  let said = "";
  const lines = {
    stdout: new Lines((line) => write("stdout", line)),
    stderr: new Lines((line) => write("stderr", line)),
  };
  function write(stream: "stdout" | "stderr", line: string): void {
    io[stream].write(`${mark}${line}\n`);
    if (stream === "stderr" && /^ip2p: (?!warning: )/.test(line)) said = line.slice("ip2p: ".length);
    log?.write(`${line}\n`);
  }
  const program = [process.execPath, MAIN, ...plan.command];
  const cores = plan.cores?.[localRank];
  // It replaces itself by the program, which keeps its process id.
  const taskset = cores && findProgram("taskset", io.env);
  if (taskset !== undefined) program.unshift(taskset, "-c", cores!.join(","));
  const result = await runProgram(program[0]!, program.slice(1), {
    env: io.env,
    // Paths of the command line are relative to the user's folder.
    folder: process.cwd(),
    variables: {
      ...nodeProgram.variables,
      RANK: String(rank),
      LOCAL_RANK: String(localRank),
      WORLD_SIZE: String(plan.size),
      LOCAL_WORLD_SIZE: String(plan.local),
      MASTER_ADDR: plan.masterHost,
      MASTER_PORT: String(masterPort),
      OMP_NUM_THREADS: String(plan.threads),
      TORCHELASTIC_RESTART_COUNT: String(attempt),
      TORCHELASTIC_USE_AGENT_STORE: "False",
      [RANK_STATUS]: status,
      [LIFELINE]: "stdin",
      ...plan.variables,
    },
    signal,
    killAfter: () => killAfter(rank),
    ownGroup: true,
    openInput: true,
    onOutput: (text, stream) => lines[stream].add(text),
  });
  for (const each of Object.values(lines)) each.end();
  log?.end();
  return { ...result, said };
}

/**
 * The one that the others ended for, if it ran on this host. Where a connection broke, two may blame each other, or one that
 * lives on until this launcher ends it: then the first one says what it saw.
 */
function culpritOf(deaths: readonly Death[]): Death | undefined {
  const [first] = deaths;
  const blamed = first && deaths.find(({ rank }) => rank === first.status.victimOf);
  if (!blamed || blamed.status.victimOf === first.rank) return first;
  return blamed.wasEnded && blamed.result.signal && !first.status.isSilent ? first : blamed;
}

function describeDeath({ rank, result, status: { step }, wasEnded, said }: Death): string {
  const when = step > 0 ? ` in step ${step}` : " before the first step";
  const { signal, status, error } = result;
  if (error) return `rank ${rank} (${hostname()}) could not be started: ${error.message}`;
  if (wasEnded && signal) return `rank ${rank} (${hostname()}) did not answer any more${when}, and was killed`;
  const how = signal ? `was killed by ${signal}` : `ended with status ${status}`;
  return `rank ${rank} (${hostname()}) ${how}${when}${signal || said === "" ? "" : `: ${said}`}`;
}

function statusOf({ status, signal }: ChildResult): number {
  return signal ? statusOfSignal(signal) : (status ?? 1);
}

/** The command that goes on from the last checkpoint; only `train` has any. */
function resuming(command: readonly string[]): string[] {
  const kept = [...command];
  if (kept[0] !== "train") return kept;
  for (let at = kept.length - 1; at > 0; at--) {
    if (/^--resume[_-]from[_-]checkpoint$/.test(kept[at]!)) kept.splice(at, 2);
    else if (/^--resume[_-]from[_-]checkpoint=/.test(kept[at]!)) kept.splice(at, 1);
  }
  return [...kept, "--resume_from_checkpoint=latest"];
}

function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, host, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

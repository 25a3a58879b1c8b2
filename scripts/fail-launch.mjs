// Starts trainings by two processes, lets one of them fail at a random moment, and checks what has to follow: every process
// has ended within the time-out and 5 s, the message names rank, host and cause, and the run goes on from its checkpoint
// to the same bits.
//
//   node scripts/fail-launch.mjs [--times N] [--kinds SIGKILL,SIGSTOP,SIGSEGV,socket,disk] [--timeout SECONDS] [--seed N]
//
// On Linux, after `npm run setup`. "socket" needs Python 3.9 and the rights of a debugger, "disk" those to mount a tmpfs.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const KINDS = ["SIGKILL", "SIGSTOP", "SIGSEGV", "socket", "disk"];
const { values } = parseArgs({
  options: {
    times: { type: "string", default: "20" },
    kinds: { type: "string", default: KINDS.join(",") },
    timeout: { type: "string", default: "5" },
    seed: { type: "string", default: String(Date.now() % 2 ** 32) },
  },
});
const timeout = Number(values.timeout);
const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const fixture = at("test/fixtures/script-full");
const STEPS = 32;
/** No failure comes later, so that the run has not ended by then. */
const LAST = 20;

/** Numbers from 0 to 1 that follow from the seed. */
let counter = 0;
function random() {
  const digest = createHash("sha256").update(`${values.seed} ${counter++}`).digest();
  return digest.readUInt32LE(0) / 2 ** 32;
}

const folder = mkdtempSync(join(tmpdir(), "ip2p-fail-"));
const mounted = new Set();

/** A training of two processes. */
class Run {
  constructor(outputDir, more = []) {
    this.started = performance.now();
    this.child = spawn(
      process.execPath,
      [
        ...[at("dist/cli/main.js"), "launch", "--num_processes=2", "--no_enable_cpu_affinity", "train", "--json"],
        ...[`--pretrained_model_name_or_path=${fixture}/base`, `--train_data_dir=${fixture}/dataset`],
        ...[`--output_dir=${outputDir}`, "--resolution=32", "--train_batch_size=1", "--gradient_accumulation_steps=2"],
        ...["--learning_rate=1e-3", "--conditioning_dropout_prob=0.2", "--random_flip", "--use_ema", "--seed=3"],
        ...[`--max_train_steps=${STEPS}`, "--checkpointing_steps=5", "--report_to=none", "--device=cpu"],
        ...[`--distributed_timeout=${timeout}`, "--num_threads=1", ...more],
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.stdout = "";
    this.stderr = "";
    for (const stream of ["stdout", "stderr"])
      this.child[stream].setEncoding("utf8").on("data", (text) => {
        this[stream] += text;
      });
    this.ended = new Promise((resolve) => this.child.on("close", (code, signal) => resolve(code ?? signal)));
  }

  get step() {
    return Math.max(0, ...[...this.stdout.matchAll(/"event":"step","step":(\d+),/g)].map(([, step]) => Number(step)));
  }

  async reaches(step) {
    let hasEnded = false;
    this.ended.then(() => {
      hasEnded = true;
    });
    while (this.step < step && !hasEnded) await pause(5);
  }

  /** Ids by rank. */
  get ranks() {
    const { pid } = this.child;
    const ids = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
    const rankOf = (id) => Number(/(?:^|\0)RANK=(\d+)/.exec(readFileSync(`/proc/${id}/environ`, "utf8"))?.[1]);
    return ids.sort((a, b) => rankOf(a) - rankOf(b));
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function weightsOf(outputDir) {
  const file = join(outputDir, "unet", "diffusion_pytorch_model.safetensors");
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

function outputFor(kind, number) {
  const path = join(folder, `${kind}-${number}`);
  mkdirSync(path);
  if (kind !== "disk") return path;
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=128m", "tmpfs", path], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`a tmpfs cannot be mounted: ${stderr}`);
  mounted.add(path);
  return join(path, "model");
}

const filler = Buffer.alloc(128 << 20);

function fillDisk(path) {
  try {
    writeFileSync(join(path, "..", "filler"), filler);
  } catch (error) {
    if (error.code !== "ENOSPC") throw error;
  }
}

/** What the messages must name, for rank `rank`. */
function expectedOf(kind, rank) {
  const name = `rank ${rank} \\(${hostname()}\\)`;
  if (kind === "SIGSTOP") return new RegExp(`${name} (has not answered|did not answer|does not answer)`);
  if (kind === "socket") return new RegExp(`rank \\d \\(${hostname()}\\).*(connection|has gone|reset|closed)`, "i");
  if (kind === "disk") return new RegExp(`rank 0 \\(${hostname()}\\).*(the disk is full|no space left)`);
  return new RegExp(`${name} was killed by ${kind}`);
}

async function fail(kind, number, whole) {
  const output = outputFor(kind, number);
  const run = new Run(output);
  // Steps take less time than starting: any step, and any moment in it.
  await run.reaches(1 + Math.floor(random() * LAST));
  await pause(random() * 30);
  const rank = kind === "disk" ? 0 : Math.floor(random() * 2);
  const ids = run.ranks;
  if (kind === "disk") fillDisk(output);
  else if (kind === "socket") {
    const { status, stderr } = spawnSync("python3", [at("scripts/close-sockets.py"), String(ids[rank])]);
    if (status !== 0 && existsSync(`/proc/${ids[rank]}`)) throw new Error(`sockets cannot be closed: ${stderr}`);
  } else process.kill(ids[rank], kind);
  const failed = performance.now();
  const status = await run.ended;
  const seconds = (performance.now() - failed) / 1000;
  const problems = [];
  if (status === 0) problems.push("the run succeeded");
  if (seconds > timeout + 5) problems.push(`ended after ${seconds.toFixed(1)} s`);
  for (const id of ids) if (existsSync(`/proc/${id}`)) problems.push(`process ${id} is left`);
  if (!expectedOf(kind, rank).test(run.stderr)) problems.push(`the message is\n${run.stderr}`);
  if (kind === "disk") rmSync(join(output, "..", "filler"), { force: true });
  const again = new Run(output, ["--resume_from_checkpoint=latest"]);
  if ((await again.ended) !== 0) problems.push(`the relaunch failed:\n${again.stderr}`);
  else if (weightsOf(output) !== whole) problems.push("the relaunch came to other weights");
  const said = run.stderr.trim().split("\n").at(-1);
  console.log(
    JSON.stringify({ kind, number, rank, step: run.step, seconds: Number(seconds.toFixed(2)), said, problems }),
  );
  return { kind, seconds, problems };
}

try {
  console.log(JSON.stringify({ seed: values.seed, timeout }));
  const wholeRun = new Run(join(folder, "whole"));
  if ((await wholeRun.ended) !== 0) throw new Error(wholeRun.stderr);
  const whole = weightsOf(join(folder, "whole"));
  const results = [];
  for (let number = 0; number < Number(values.times); number++)
    for (const kind of values.kinds.split(",")) results.push(await fail(kind, number, whole));
  for (const kind of values.kinds.split(",")) {
    const of = results.filter((result) => result.kind === kind);
    const bad = of.filter(({ problems }) => problems.length > 0).length;
    const longest = Math.max(...of.map(({ seconds }) => seconds)).toFixed(1);
    console.log(JSON.stringify({ kind, times: of.length, bad, longestSeconds: Number(longest) }));
  }
  process.exitCode = results.some(({ problems }) => problems.length > 0) ? 1 : 0;
} finally {
  for (const path of mounted) spawnSync("umount", [path]);
  rmSync(folder, { recursive: true, force: true });
}

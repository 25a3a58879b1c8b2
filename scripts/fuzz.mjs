// Fuzzes the code that reads untrusted input. The safetensors parser and writer (targets header and round_trip) run in
// libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer, which need clang++ and its compiler-rt. The targets in
// TypeScript are those of test/fuzz/targets.ts, fed with inputs generated from a seed.
//
//   node scripts/fuzz.mjs [TARGET...] [--seconds 600] [--seed 1] [--update-corpus]
//
// The time is shared between the targets, by default header and round_trip. libFuzzer starts from
// test/fixtures/safetensors-corpus; findings stay in build/fuzz/. With --update-corpus the inputs that reach new code
// are then added to the fixtures. Exits with 1 and the input's path if an input violated an invariant.

import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, "build", "fuzz");
const harness = join(root, "test", "native", "fuzz");
const sources = ["safetensors_header", "safetensors_dtype", "safetensors_writer", "json_reader", "utf8", "file"];
const targets = {
  header: { corpus: join(root, "test", "fixtures", "safetensors-corpus"), maxLength: 4096 },
  round_trip: { corpus: undefined, maxLength: 1024 },
};

/** Names of test/fuzz/targets.ts. */
const scripted = ["configs", "csv", "jsonl", "parquet", "globs", "cards", "images", "multipart", "secrets"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "600" },
    seed: { type: "string", default: String(Date.now() % 2 ** 32) },
    "update-corpus": { type: "boolean", default: false },
  },
});
const seconds = Number(values.seconds);
const chosen = positionals.length > 0 ? positionals : Object.keys(targets);
const known = [...Object.keys(targets), ...scripted];
if (!Number.isInteger(seconds) || seconds < 1) fail(`--seconds takes a positive whole number, not "${values.seconds}"`);
for (const name of chosen) if (!known.includes(name)) fail(`unknown target "${name}": expected ${known.join(", ")}`);
if (!/^\d{1,10}$/.test(values.seed)) fail(`--seed takes a whole number, not "${values.seed}"`);

const share = Math.max(1, Math.floor(seconds / chosen.length));

function fail(message) {
  console.error(`fuzz: ${message}`);
  process.exit(1);
}

/** Runs a program with its output in a log file (or on the terminal) and returns the exit status. */
function run(command, args, log) {
  const file = log === undefined ? undefined : openSync(log, "w");
  const result = spawnSync(command, args, { stdio: ["ignore", file ?? "inherit", file ?? "inherit"] });
  if (file !== undefined) closeSync(file);
  if (result.error?.code === "ENOENT") fail(`${command} was not found: install clang and its compiler-rt`);
  if (result.error) throw result.error;
  return result.status ?? 1;
}

/** Compiles one program of the harness and returns the path of its binary. */
function build(source, sanitizers) {
  const binary = join(out, source);
  const status = run(process.env.FUZZ_CXX ?? "clang++", [
    "-std=c++20",
    "-g",
    "-O1",
    "-fno-omit-frame-pointer",
    `-fsanitize=${sanitizers}`,
    "-fno-sanitize-recover=all",
    `-I${join(root, "native")}`,
    join(harness, `${source}.cc`),
    ...sources.map((file) => join(root, "native", "core", `${file}.cc`)),
    "-o",
    binary,
  ]);
  if (status !== 0) fail(`${source} does not compile`);
  return binary;
}

/** Adds the inputs that reach new code to the corpus, and records which of its inputs are well-formed. */
function updateCorpus(name, binary, corpus, found) {
  mkdirSync(corpus, { recursive: true });
  const log = join(out, `${name}-merge.log`);
  if (run(binary, ["-set_cover_merge=1", "-max_len=512", corpus, found], log) !== 0)
    fail(`${name}: the corpus could not be merged, see ${log}`);
  const inputs = readdirSync(corpus).sort();
  const list = `${corpus}-accepted.txt`;
  const status = run(
    build("list_accepted", "address,undefined"),
    inputs.map((input) => join(corpus, input)),
    list,
  );
  if (status !== 0) fail(`${name}: an input of the corpus crashes the parser, see ${list}`);
  console.log(`fuzz: ${name}: the corpus now has ${inputs.length} inputs`);
}

function fuzz(name) {
  const { corpus, maxLength } = targets[name];
  const binary = build(`fuzz_safetensors_${name}`, "fuzzer,address,undefined");
  const found = join(out, `${name}-corpus`);
  const findings = join(out, `${name}-findings`);
  const log = join(out, `${name}.log`);
  for (const folder of [found, findings]) mkdirSync(folder, { recursive: true });
  console.log(`fuzz: ${name} for ${share} s (log: ${log})`);
  const status = run(
    binary,
    [
      `-max_total_time=${share}`,
      `-max_len=${maxLength}`,
      "-timeout=1",
      "-malloc_limit_mb=256",
      "-rss_limit_mb=1024",
      "-print_final_stats=1",
      `-artifact_prefix=${findings}/`,
      `-dict=${join(harness, "safetensors.dict")}`,
      found,
      ...(corpus !== undefined && existsSync(corpus) ? [corpus] : []),
    ],
    log,
  );
  const lines = readFileSync(log, "utf8").split("\n");
  if (status !== 0) {
    console.error(lines.slice(-60).join("\n"));
    fail(`${name}: failing inputs: ${readdirSync(findings).map((file) => join(findings, file))}`);
  }
  const stat = (key) => lines.findLast((line) => line.startsWith(`stat::${key}:`))?.replace(/.*:\s*/, "");
  const coverage = lines.findLast((line) => /\bcov: \d+/.test(line))?.match(/cov: (\d+) ft: (\d+)/);
  console.log(
    `fuzz: ${name}: ${stat("number_of_executed_units")} inputs, no failure; ` +
      `${stat("average_exec_per_sec")} per second, ${coverage?.[1]} edges, ${coverage?.[2]} features, ` +
      `peak ${stat("peak_rss_mb")} MB`,
  );
  if (values["update-corpus"] && corpus !== undefined) updateCorpus(name, binary, corpus, found);
}

function fuzzScripted(name) {
  console.log(`fuzz: ${name} for ${share} s (seed ${values.seed})`);
  const status = run(process.execPath, ["scripts/setup.mjs", "--quiet", "--typescript"]);
  if (status !== 0) fail("the TypeScript sources do not compile");
  Object.assign(process.env, { FUZZ_TARGETS: name, FUZZ_SECONDS: String(share), FUZZ_SEED: values.seed });
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  if (run(process.execPath, [vitest, "run", "test/fuzz/fuzz.slow.test.ts"]) !== 0)
    fail(`${name}: an input failed, see above`);
}

process.chdir(root);
mkdirSync(out, { recursive: true });
for (const name of chosen)
  if (Object.hasOwn(targets, name)) fuzz(name);
  else fuzzScripted(name);

import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { InstructPix2PixError } from "../../core/errors.js";
import { ioError } from "../../files/io-error.js";
import type { Environment } from "../../runtime/platform.js";

/** What a file of `accelerate config` says; the names are its own. */
export interface AccelerateConfig {
  num_processes?: number;
  num_machines?: number;
  machine_rank?: number;
  main_process_ip?: string;
  main_process_port?: number;
  mixed_precision?: string;
  gpu_ids?: string;
  enable_cpu_affinity?: boolean;
}

const NUMBERS = ["num_processes", "num_machines", "machine_rank", "main_process_port"] as const;
const TEXTS = ["main_process_ip", "mixed_precision", "gpu_ids"] as const;
const FLAGS = ["enable_cpu_affinity"] as const;
/** Ways of distributing that are plain data parallelism. */
const SUPPORTED = ["NO", "MULTI_CPU", "MULTI_GPU"];

/** Where `accelerate config` and `ip2p config` write, and what both launchers read. */
export function accelerateConfigPath(env: Environment): string {
  return join(env.HF_HOME ?? join(homedir(), ".cache", "huggingface"), "accelerate", "default_config.yaml");
}

/**
 * Reads a file of `accelerate config`: the one named, or else accelerate's own if it exists.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_IO`, `ERR_CONFIG` naming the key that is malformed or asks for what is not supported
 */
export function readAccelerateConfig(named: string | undefined, env: Environment): AccelerateConfig {
  const path = named ?? accelerateConfigPath(env);
  if (!existsSync(path)) {
    if (named === undefined) return {};
    throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `the configuration ${path} does not exist`);
  }
  const invalid = (what: string, cause?: unknown) =>
    new InstructPix2PixError("ERR_CONFIG", `${path}: ${what}`, { cause });
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw ioError("read", path, error);
  }
  let values: unknown;
  try {
    values = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    throw invalid("is not YAML", error);
  }
  if (typeof values !== "object" || values === null || Array.isArray(values)) throw invalid("is not a configuration");
  const given = values as Record<string, unknown>;
  const kind = given.distributed_type ?? "NO";
  if (!SUPPORTED.includes(String(kind)))
    throw invalid(`distributed_type ${JSON.stringify(kind)} is not supported; ${SUPPORTED.join(", ")} are`);
  const config: Record<string, unknown> = {};
  for (const key of NUMBERS) {
    const value = given[key];
    if (value === undefined || value === null) continue;
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw invalid(`${key} is not a whole number`);
    config[key] = value;
  }
  for (const key of TEXTS) {
    // One GPU's number may be written without quotes.
    const value = key === "gpu_ids" && typeof given[key] === "number" ? String(given[key]) : given[key];
    if (value === undefined || value === null) continue;
    // YAML reads "no" as a text, as accelerate writes it in quotes.
    if (typeof value !== "string") throw invalid(`${key} is not a text`);
    config[key] = value;
  }
  for (const key of FLAGS) {
    const value = given[key];
    if (value === undefined || value === null) continue;
    if (typeof value !== "boolean") throw invalid(`${key} is neither true nor false`);
    config[key] = value;
  }
  return config;
}

import { randomInt } from "node:crypto";
import { InstructPix2PixError } from "../../core/errors.js";
import { trimSlashes } from "../../core/trim.js";
import type { Environment } from "../../runtime/platform.js";
import { passwordFor } from "./netrc.js";

export type WandbMode = "online" | "offline" | "disabled";

/** Settings from the same environment variables as W&B's own clients. */
export interface WandbSettings {
  mode: WandbMode;
  /** URL of the server, without a trailing slash. */
  baseUrl: string;
  apiKey: string | undefined;
  /** Undefined for the key's default entity. */
  entity: string | undefined;
  project: string;
  runId: string;
  /** Whether to resume an existing run. */
  resume: boolean;
  displayName: string | undefined;
  group: string | undefined;
  jobType: string | undefined;
  notes: string | undefined;
  tags: string[] | undefined;
}

const PUBLIC_SERVER = "https://api.wandb.ai";

/**
 * Reads the settings.
 *
 * @param project used unless WANDB_PROJECT names another
 * @param saved the saved state of a checkpoint's run
 * @throws `ERR_CONFIG` for an invalid mode or URL
 */
export async function readSettings(
  project: string,
  saved: Readonly<Record<string, string>> | undefined,
  env: Environment,
): Promise<WandbSettings> {
  const mode = modeOf(env);
  const baseUrl = baseUrlOf(env);
  const apiKey = await keyFor(baseUrl, env);
  return {
    mode,
    baseUrl,
    apiKey,
    entity: saved?.entity || env.WANDB_ENTITY || undefined,
    project: saved?.project || env.WANDB_PROJECT || project,
    runId: checkedRunId(saved?.id || env.WANDB_RUN_ID || newRunId()),
    resume: saved?.id !== undefined || (!!env.WANDB_RUN_ID && /^(allow|must|auto)$/.test(env.WANDB_RESUME ?? "")),
    displayName: env.WANDB_NAME || undefined,
    group: env.WANDB_RUN_GROUP || undefined,
    jobType: env.WANDB_JOB_TYPE || undefined,
    notes: env.WANDB_NOTES || undefined,
    tags: env.WANDB_TAGS?.split(",")
      .map((tag) => tag.trim())
      .filter(Boolean),
  };
}

/** The API key for the configured server, if any. */
export async function wandbKey(env: Environment): Promise<string | undefined> {
  return keyFor(baseUrlOf(env), env);
}

/** Whether a run can be recorded without further settings: there is a key, or it is offline. */
export async function canUseWandb(env: Environment): Promise<boolean> {
  return modeOf(env) !== "online" || (await wandbKey(env)) !== undefined;
}

async function keyFor(baseUrl: string, env: Environment): Promise<string | undefined> {
  return env.WANDB_API_KEY?.trim() || (await passwordFor(new URL(baseUrl).hostname, env)) || undefined;
}

/** The web address of a server's runs. */
export function runUrl(baseUrl: string, entity: string, project: string, runId: string): string {
  const site = baseUrl === PUBLIC_SERVER ? "https://wandb.ai" : baseUrl;
  return `${site}/${[entity, project, "runs", runId].map(encodeURIComponent).join("/")}`;
}

function modeOf(env: Environment): WandbMode {
  if (/^(true|1)$/i.test(env.WANDB_DISABLED ?? "")) return "disabled";
  const mode = env.WANDB_MODE?.trim().toLowerCase() || "online";
  if (mode === "online" || mode === "offline" || mode === "disabled") return mode;
  if (mode === "dryrun") return "offline";
  if (mode === "run" || mode === "shared") return "online";
  throw config(`WANDB_MODE is ${JSON.stringify(mode)}; it can be online, offline or disabled`);
}

function baseUrlOf(env: Environment): string {
  const given = env.WANDB_BASE_URL?.trim() || PUBLIC_SERVER;
  let url: URL | undefined;
  try {
    url = new URL(given);
  } catch {}
  // `href` also contains an empty query or fragment, which would precede appended paths.
  if (!url || !/^https?:$/.test(url.protocol) || /[?#]/.test(url.href))
    throw config("WANDB_BASE_URL is not the address of a server, such as https://api.wandb.ai");
  if (url.username || url.password) throw config("WANDB_BASE_URL holds a password; put the key into WANDB_API_KEY");
  return trimSlashes(url.href);
}

/** Eight letters and digits, as W&B's own clients draw them. */
function newRunId(): string {
  return Array.from({ length: 8 }, () => randomInt(36).toString(36)).join("");
}

function checkedRunId(id: string): string {
  if (/^[^/\\#?%:\s]{1,128}$/.test(id)) return id;
  throw config(`${JSON.stringify(id.slice(0, 140))} cannot be the id of a W&B run`);
}

function config(message: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_CONFIG", message);
}

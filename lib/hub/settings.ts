import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { optionNames } from "../core/known-options.js";
import { trimSlashes } from "../core/trim.js";
import type { Environment } from "../runtime/platform.js";
import { AccessToken } from "./token.js";
import { readStoredToken } from "./token-file.js";

/** The hub's endpoint, its cache, and the access token. */
export interface HubSettings {
  /** Base URL without a trailing slash. */
  readonly endpoint: string;
  readonly cacheDir: string;
  readonly token: AccessToken | undefined;
  readonly offline: boolean;
}

export interface HubSettingsOptions {
  /** The cache's folder. Default `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
  cacheDir?: string;
  /**
   * Access token for private and gated repositories; false: none. Default `$HF_TOKEN`, else the file `$HF_HOME/token`
   * that `hf auth login` writes.
   */
  token?: string | false;
  /** Uses the cache only. Default: whether `$HF_HUB_OFFLINE` is 1. */
  localFilesOnly?: boolean;
}

/** The names of {@link HubSettingsOptions}. */
export const HUB_SETTINGS_OPTIONS = optionNames<HubSettingsOptions>()({
  cacheDir: true,
  token: true,
  localFilesOnly: true,
});

const DEFAULT_ENDPOINT = "https://huggingface.co";

/** Whether a boolean environment variable of huggingface_hub is on. */
export function isOn(value: string | undefined): boolean {
  return ["1", "ON", "YES", "TRUE"].includes((value ?? "").toUpperCase());
}

/** Expands `~` and `$NAME`, as Python's `expanduser` and `expandvars` do. */
function expand(path: string, env: Environment): string {
  const home = /^~(?=$|[/\\])/.test(path) ? homedir() + path.slice(1) : path;
  return home.replace(/\$(\w+)|\$\{(\w+)\}/g, (whole, bare, braced) => env[bare ?? braced] ?? whole);
}

function huggingFaceHome(env: Environment): string {
  return expand(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface"), env);
}

function cacheFolder(option: string | undefined, env: Environment): string {
  if (option !== undefined && (typeof option !== "string" || option === "" || option.includes("\0")))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "cacheDir must be the path of a folder");
  const named = option ?? (env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE);
  return resolve(named ? expand(named, env) : join(huggingFaceHome(env), "hub"));
}

function endpointUrl(env: Environment): string {
  const text = env.HF_ENDPOINT || DEFAULT_ENDPOINT;
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {}
  // The value is not in the message, since it may contain a password.
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      "HF_ENDPOINT must be an http or https URL without user name, password, query and fragment",
    );
  return trimSlashes(url.origin + url.pathname);
}

async function accessToken(option: string | false | undefined, env: Environment): Promise<AccessToken | undefined> {
  if (option === false) return undefined;
  if (option !== undefined && typeof option !== "string")
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "token must be a string or false");
  if (option) return new AccessToken(option.trim(), "the option token");
  if (isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  const named = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || "").trim();
  if (named) return new AccessToken(named, "HF_TOKEN");
  const path = env.HF_TOKEN_PATH ? expand(env.HF_TOKEN_PATH, env) : join(huggingFaceHome(env), "token");
  const stored = await readStoredToken(path);
  return stored ? new AccessToken(stored, path) : undefined;
}

/**
 * Settings from options and, as defaults, the environment variables of Python's huggingface_hub: `HF_ENDPOINT`,
 * `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`.
 *
 * @throws `ERR_INVALID_ARGUMENT`
 */
export async function hubSettings(options: HubSettingsOptions, env: Environment): Promise<HubSettings> {
  return {
    endpoint: endpointUrl(env),
    cacheDir: cacheFolder(options.cacheDir, env),
    token: await accessToken(options.token, env),
    offline: options.localFilesOnly ?? isOn(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
  };
}

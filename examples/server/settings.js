import { parseArgs } from "node:util";
import { builtInModel } from "instruct-pix2pix";

/**
 * Every setting: `maxSteps` is the flag `--max-steps` and the environment variable `IP2P_SERVER_MAX_STEPS`. Flags
 * override variables, variables override these defaults.
 */
const DEFAULTS = {
  host: "127.0.0.1",
  port: 8080,
  /** A folder, or an id on the Hugging Face hub. */
  model: builtInModel,
  /** auto, cpu, cuda or cuda:N */
  device: "auto",
  /** float32, bfloat16 or float16 */
  dtype: "float32",
  /** Maximum of requests in progress: uploading, waiting or computed. Others are rejected with 503. */
  places: 64,
  /** Maximum of these per client. */
  placesPerClient: 16,
  /** Addresses and networks of proxies whose X-Forwarded-For is trusted, or loopback, linklocal, uniquelocal. */
  trustProxy: "",
  /** Host names accepted besides the server's own; `*` for any. */
  allowedHosts: "",
  /** Origins of pages that may send requests, besides those of the server's own host. */
  allowedOrigins: "",
  /** A file with the token that /metrics requires. Without one, only programs on this machine may read it. */
  metricsTokenFile: "",
  /** Edits that are computed at once. They take turns on the device, so more do not raise throughput. */
  concurrency: 1,
  /** Maximum of denoising steps per request. */
  maxSteps: 100,
  /** Maximum of width times height of a picture. */
  maxPixels: 1_048_576,
  /** Maximum size of an uploaded or fetched picture. */
  maxBytes: 16_777_216,
  /** Time limit in seconds for receiving a request's body. */
  bodyTimeout: 30,
  /** Time limit in seconds for a whole request, including waiting. */
  timeout: 120,
  /** Seconds after SIGTERM for requests in progress; then they are aborted. */
  grace: 25,
};

/** @typedef {typeof DEFAULTS} Settings */

/**
 * @param {string[]} argv
 * @param {NodeJS.ProcessEnv} env
 * @returns {Settings}
 */
export function readSettings(argv, env) {
  const names = /** @type {(keyof Settings)[]} */ (Object.keys(DEFAULTS));
  const flags = Object.fromEntries(names.map((name) => [kebab(name), /** @type {const} */ ({ type: "string" })]));
  const { values } = parseArgs({ args: argv, options: flags });
  const settings = names.map((name) => {
    const given = values[kebab(name)] ?? env[`IP2P_SERVER_${kebab(name).replaceAll("-", "_").toUpperCase()}`];
    return [name, given === undefined ? DEFAULTS[name] : parse(name, String(given))];
  });
  return Object.fromEntries(settings);
}

/**
 * @param {keyof Settings} name
 * @param {string} text
 */
function parse(name, text) {
  if (typeof DEFAULTS[name] === "string") return text;
  const least = name === "port" || name === "grace" ? 0 : 1;
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < least)
    throw new Error(`--${kebab(name)} is a whole number of at least ${least}, not "${text}"`);
  return value;
}

/**
 * The items of a list setting.
 *
 * @param {string} text separated by commas
 */
export function listOf(text) {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
}

/** @param {string} name */
function kebab(name) {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

import { InstructPix2PixError } from "../core/errors.js";
import { declareOptions, type OptionInput, type OptionValues } from "../options/declaration.js";
import { resolveOptions } from "../options/parse.js";

const ACCESS = "Access";
const LIMITS = "Limits";
const JOBS = "Jobs";
const LOG = "Log";

/** Every option of the server, beside its models. */
export const serverOptions = declareOptions({
  host: { type: "string", value: "ADDRESS", default: "127.0.0.1", help: "the address to listen on" },
  port: { type: "integer", min: 0, max: 65_535, default: 8080, help: "the port to listen on; 0 takes a free one" },
  grace: {
    type: "integer",
    value: "SECONDS",
    min: 0,
    max: 86_400,
    default: 25,
    help: "how long requests may still take after SIGTERM; then they get 503",
  },
  warm_up: {
    type: "boolean",
    help: "have each model compute a step before the server listens, so that the first request is not slower than others",
  },
  memory_budget: {
    type: "number",
    value: "GB",
    min: 0.001,
    max: 100_000,
    help: "gigabytes that the weights of loaded models may take: each is loaded when a request needs it, and those used longest ago are freed; by default all are loaded at the start and stay",
  },
  offload: {
    type: "boolean",
    help: "keep the models in host memory, and each on the device only while it computes; requests for a model then take turns",
  },
  max_batch_rows: {
    type: "integer",
    min: 1,
    max: 1000,
    default: 24,
    help: "rows of a pass through the UNet that concurrent requests share, though each is at a step of its own; an edit has three; 1 computes them one by one",
  },
  page: { type: "boolean", default: true, help: "serve no web page at /" },

  api_keys_file: {
    type: "string",
    value: "FILE",
    group: ACCESS,
    help: "a file with a key on each line, of at least 16 characters, and behind it, if its client is to have others than all, places=N and requests_per_minute=N; requests need one of the keys, as Authorization: Bearer KEY",
  },
  allow_without_key: {
    type: "boolean",
    group: ACCESS,
    help: "listen on other addresses than this machine's own without keys, so that everyone who reaches them may use it",
  },
  allowed_hosts: {
    type: "string",
    value: "NAME,…",
    default: "",
    group: ACCESS,
    help: "further names allowed in the header Host, or * for any",
  },
  allowed_origins: {
    type: "string",
    value: "ORIGIN,…",
    default: "",
    group: ACCESS,
    help: "further origins whose pages may send requests and read answers (CORS), such as https://example.org",
  },
  trust_proxy: {
    type: "string",
    value: "NETWORK,…",
    default: "",
    group: ACCESS,
    help: "addresses and networks of reverse proxies, or loopback, linklocal, uniquelocal: their X-Forwarded-For says who the client is",
  },
  metrics_token_file: {
    type: "string",
    value: "FILE",
    group: ACCESS,
    help: "a file with the token that /metrics requires; without one, only programs on this machine may read it",
  },

  places: {
    type: "integer",
    min: 1,
    max: 100_000,
    default: 64,
    group: LIMITS,
    help: "requests admitted at once: uploading, waiting or being computed; others get 429",
  },
  places_per_client: {
    type: "integer",
    min: 1,
    max: 100_000,
    default: 16,
    group: LIMITS,
    help: "how many of them one client may hold: a key, or without keys an IPv4 address or a /64 network of IPv6",
  },
  requests_per_minute: {
    type: "integer",
    min: 1,
    max: 100_000,
    group: LIMITS,
    help: "how many requests for images one client may send in a minute, some of them at once; by default any number",
  },
  concurrency: {
    type: "integer",
    min: 1,
    max: 1000,
    default: 4,
    group: LIMITS,
    help: "requests computed at once; those for the same model, size and type share passes, others take turns on the device",
  },
  nice: {
    type: "integer",
    min: 0,
    max: 19,
    default: 5,
    group: LIMITS,
    help: "the niceness of the threads that compute on the CPU, so that those that answer requests come first (Linux only); 0 makes them equal",
  },
  max_steps: { type: "integer", min: 1, max: 1000, default: 100, group: LIMITS, help: "denoising steps of a request" },
  max_images: {
    type: "integer",
    min: 1,
    max: 100,
    default: 4,
    group: LIMITS,
    help: "images that a request asks for",
  },
  max_pixels: {
    type: "integer",
    min: 1,
    max: 178_956_970,
    default: 1_048_576,
    group: LIMITS,
    help: "width times height of an image, checked before it is decoded",
  },
  max_bytes: {
    type: "integer",
    min: 1,
    max: 1_073_741_824,
    default: 16_777_216,
    group: LIMITS,
    help: "size of an uploaded or fetched image",
  },
  body_timeout: {
    type: "integer",
    value: "SECONDS",
    min: 1,
    max: 86_400,
    default: 30,
    group: LIMITS,
    help: "how long a request's body may take to arrive",
  },
  timeout: {
    type: "integer",
    value: "SECONDS",
    min: 1,
    max: 86_400,
    default: 120,
    group: LIMITS,
    help: "how long a request may take, including waiting",
  },

  jobs_dir: {
    type: "string",
    value: "DIR",
    group: JOBS,
    help: "where jobs are kept, with their state and results; without it there are none",
  },
  max_jobs: {
    type: "integer",
    min: 1,
    max: 100_000,
    default: 100,
    group: JOBS,
    help: "jobs that are not over; others get 429",
  },
  job_retention: {
    type: "integer",
    value: "SECONDS",
    min: 1,
    max: 1_000_000_000,
    default: 604_800,
    group: JOBS,
    help: "how long a job and its results are kept after its end",
  },
  train_dir: {
    type: "string",
    value: "DIR",
    group: JOBS,
    help: "a folder of data sets that training jobs may name; without it training is refused",
  },

  log_level: {
    type: "string",
    choices: ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
    default: "info",
    group: LOG,
    help: "the least severity of lines that are written to standard output, as JSON",
  },
  log_prompts: { type: "boolean", group: LOG, help: "write prompts to the log, too" },
});

/** The server's options after validation, with their defaults. */
export type ServerSettings = OptionValues<typeof serverOptions>;
/** The server's options as a program gives them. */
export type ServerOptions = OptionInput<typeof serverOptions>;

/** @throws `ERR_INVALID_ARGUMENT` naming the option */
export function resolveServerOptions(options: ServerOptions): ServerSettings {
  return resolveOptions(serverOptions, options);
}

/** The items of a list that is separated by commas. */
export function listOf(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
}

/** Refuses the value of an option. */
export function invalidOption(problem: string, cause?: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem, cause === undefined ? undefined : { cause });
}

import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { MODEL_INDEX } from "../components/model-index.js";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { quote } from "../core/quote.js";
import { warnOnce } from "../core/warn.js";
import { nearestName } from "../options/names.js";
import type { Environment } from "../runtime/platform.js";
import { RepositoryCache } from "./cache.js";
import { HubClient } from "./client.js";
import { HubError, type HubFailure, repositoryError } from "./errors.js";
import { fileNameProblem } from "./file-names.js";
import { NETWORK_OPTIONS, type NetworkOptions } from "./http.js";
import { matching } from "./patterns.js";
import { type DownloadProgress, ProgressReport } from "./progress.js";
import { checkRevision, DEFAULT_REVISION, isCommit, isRepositoryId, type Repository } from "./repository.js";
import { obtainModel, obtainPipeline, type SelectOptions } from "./select.js";
import { HUB_SETTINGS_OPTIONS, type HubSettings, type HubSettingsOptions, hubSettings, isOn } from "./settings.js";
import { CachedFiles, type FileSource, HubFiles } from "./source.js";

/** Options of {@link resolvePretrained}. */
export interface ResolveOptions extends HubSettingsOptions, NetworkOptions {
  /** Branch, tag, commit or `refs/pr/N`. Default "main". */
  revision?: string;
  /** Downloads `*.VARIANT.safetensors`, e.g. "fp16", for every component that has them. */
  variant?: string;
  /** The components of a pipeline to download. Default: those of classes that this package loads. */
  components?: readonly string[];
  /** @internal Those of them that a repository may lack although its index names them. */
  optionalComponents?: readonly string[];
  /** Downloads only the model, scheduler or tokenizer in this folder, and resolves to it. */
  subfolder?: string;
  /** Downloads the files that match one of these shell patterns instead of those that a pipeline or model needs. */
  allowPatterns?: readonly string[];
  /** With `allowPatterns`: excludes files that match one of these. */
  ignorePatterns?: readonly string[];
  /** Parallel downloads. Default 4. */
  concurrency?: number;
  /** @internal Checks a pipeline's folder before its weights are downloaded, with everything else there. */
  checkConfigs?: (folder: string) => Promise<unknown>;
  /** Stops all downloads; partial files are resumed by the next call. */
  signal?: AbortSignal;
  onProgress?: (progress: DownloadProgress) => void;
}

/** The names of {@link ResolveOptions}. */
export const RESOLVE_OPTIONS = optionNames<ResolveOptions>()({
  ...HUB_SETTINGS_OPTIONS,
  ...NETWORK_OPTIONS,
  revision: true,
  variant: true,
  components: true,
  optionalComponents: false,
  subfolder: true,
  allowPatterns: true,
  ignorePatterns: true,
  concurrency: true,
  checkConfigs: false,
  signal: true,
  onProgress: true,
});

/**
 * The folder of a pretrained pipeline or model. A local folder is returned as it is. Anything else is the id of a
 * repository on the Hugging Face hub, whose missing files are downloaded into the Hugging Face cache, shared with
 * Python; if the hub is unreachable, cached files are used, with a warning.
 *
 * Only safetensors and configuration files are downloaded, unless `allowPatterns` is given.
 *
 * @param pathOrId a path, or an id such as `timbrooks/instruct-pix2pix`
 * @throws `ERR_FILE_NOT_FOUND` for a path that does not exist, `ERR_HUB` for failures of the hub and missing or
 * unusable files of the repository, `ERR_INVALID_ARGUMENT`, `ERR_CONFIG` and `ERR_SAFETENSORS` for malformed index
 * files, `ERR_IO`,
 *   `ERR_ABORTED`
 *
 * @example
 * ```js
 * import { resolvePretrained } from "instruct-pix2pix";
 *
 * const folder = await resolvePretrained("timbrooks/instruct-pix2pix");
 * console.log(folder);
 * ```
 */
export async function resolvePretrained(
  pathOrId: string,
  options: ResolveOptions = {},
  env: Environment = process.env,
): Promise<string> {
  checkOptions(options, RESOLVE_OPTIONS);
  throwIfAborted(options.signal);
  checkValues(pathOrId, options);
  const { subfolder = "" } = options;
  const local = await localFolder(pathOrId, subfolder);
  if (local !== undefined) return local;
  const repository: Repository = { type: "model", id: pathOrId };
  const select = (source: FileSource) => obtainSelected(source, options);
  try {
    return join(await obtainSnapshot(repository, select, options, env), subfolder);
  } catch (error) {
    if (!(error instanceof HubError) || !MAY_BE_A_FOLDER.has(error.failure)) throw error;
    const message = `${quote(pathOrId)}: no such folder${await didYouMean(pathOrId)}; as the id of a repository on the Hugging Face hub: ${error.message}`;
    throw new HubError(error.failure, message, { cause: error.cause });
  }
}

/** Failures after which a mistyped folder is as likely as an id that the hub does not give. */
const MAY_BE_A_FOLDER: ReadonlySet<HubFailure> = new Set(["unreachable", "no-repository", "not-cached"]);

/** A suggestion of a folder with a similar name beside it, or nothing. */
async function didYouMean(path: string): Promise<string> {
  const entries = await readdir(dirname(path), { withFileTypes: true }).catch(() => []);
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const nearest = nearestName(basename(path), folders);
  return nearest === undefined ? "" : ` (did you mean ${quote(join(dirname(path), nearest))}?)`;
}

/**
 * Ensures that files of a repository are in the cache.
 *
 * @param select chooses and obtains the files
 * @returns the folder of the commit
 */
export async function obtainSnapshot(
  repository: Repository,
  select: (source: FileSource) => Promise<void>,
  options: ResolveOptions,
  env: Environment,
): Promise<string> {
  const settings = await hubSettings(options, env);
  const revision = checkRevision(options.revision ?? DEFAULT_REVISION);
  const cache = new RepositoryCache(settings.cacheDir, repository);
  if (settings.offline) return fromCache(repository, cache, revision, select);
  try {
    return await fromHub(repository, cache, revision, select, settings, options, env);
  } catch (error) {
    if (!(error instanceof HubError) || !CACHE_MAY_HELP.has(error.failure)) throw error;
    const cached = await fromCache(repository, cache, revision, select).catch(() => undefined);
    if (cached === undefined) throw error;
    warnOnce(`${error.message}; using the files of ${repository.id} that are in the cache`);
    return cached;
  }
}

/** Failures after which a cached snapshot may be used. A missing revision is not among them. */
const CACHE_MAY_HELP: ReadonlySet<string> = new Set(["unreachable", "no-repository", "gated", "refused"]);

async function fromHub(
  repository: Repository,
  cache: RepositoryCache,
  revision: string,
  select: (source: FileSource) => Promise<void>,
  settings: HubSettings,
  options: ResolveOptions,
  env: Environment,
): Promise<string> {
  const { signal, concurrency = 4 } = options;
  const known = await cache.commitOf(revision);
  // With a cached snapshot as a fallback, fewer retries are made.
  const retries = known !== undefined && (await cache.names(known)) ? Math.min(options.retries ?? 1, 1) : undefined;
  const client = new HubClient(repository, settings, options, env);
  try {
    const lookUp = { signal, retries };
    const commit = isCommit(revision) ? revision : await client.commitOf(revision, lookUp);
    const files = (await cache.storedListing(commit)) ?? (await client.files(commit, lookUp));
    await cache.remember(revision, commit).catch(() => {});
    const copies = isOn(env.HF_HUB_DISABLE_SYMLINKS);
    const progress = new ProgressReport(options.onProgress);
    await select(new HubFiles(client, cache, commit, files, { signal, concurrency, copies, progress }));
    return cache.snapshot(commit);
  } finally {
    await client.close();
  }
}

async function fromCache(
  repository: Repository,
  cache: RepositoryCache,
  revision: string,
  select: (source: FileSource) => Promise<void>,
): Promise<string> {
  const commit = await cache.commitOf(revision);
  const present = commit === undefined ? undefined : await cache.names(commit);
  if (commit === undefined || present === undefined)
    throw new HubError(
      "not-cached",
      `${repository.id} at revision ${JSON.stringify(revision)} is not in the cache (${cache.folder}), and the hub must not be contacted`,
    );
  const listed = (await cache.storedListing(commit))?.map(({ name }) => name);
  await select(new CachedFiles(repository.id, cache, commit, listed ?? present));
  return cache.snapshot(commit);
}

async function obtainSelected(source: FileSource, options: ResolveOptions): Promise<void> {
  const { allowPatterns, ignorePatterns = [], subfolder } = options;
  const selection: SelectOptions = options;
  if (allowPatterns !== undefined) {
    const ignored = new Set(matching(source.names, ignorePatterns));
    const names = matching(source.names, allowPatterns).filter((name) => !ignored.has(name));
    if (names.length === 0) throw repositoryError(`${source.label}: no file matches ${allowPatterns.join(", ")}`);
    await source.obtain(names);
  } else if (subfolder) await obtainModel(source, `${subfolder}/`, selection);
  else if (source.names.has(MODEL_INDEX)) await obtainPipeline(source, selection);
  else await obtainModel(source, "", selection);
}

/** The local folder of a path; undefined for a repository's id. */
async function localFolder(pathOrId: string, subfolder: string): Promise<string | undefined> {
  const path = subfolder === "" ? pathOrId : join(pathOrId, subfolder);
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return path;
  if (found) throw notFound(`${path} is a file; a model is a folder`);
  if (subfolder !== "" && (await stat(pathOrId).catch(() => undefined)))
    throw notFound(`${path}: no such folder${await didYouMean(path)}`);
  if (isRepositoryId(pathOrId) && !/\.(?:safetensors|ckpt|bin|pt|pth|json)$/.test(pathOrId)) return undefined;
  throw notFound(
    `${pathOrId}: no such folder (nor can it be the id of a model on the Hugging Face hub)${await didYouMean(pathOrId)}`,
  );
}

function notFound(message: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_FILE_NOT_FOUND", message);
}

function checkValues(pathOrId: string, options: ResolveOptions): void {
  const invalid = (what: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", what);
  if (typeof pathOrId !== "string" || pathOrId === "" || pathOrId.includes("\0"))
    throw invalid("expected the path of a model's folder or its id on the Hugging Face hub");
  const { subfolder, variant, concurrency, retries, retryDelay, idleTimeout } = options;
  if (subfolder) {
    const problem = fileNameProblem(subfolder);
    if (problem) throw invalid(`subfolder ${JSON.stringify(subfolder)} ${problem}`);
  }
  if (variant !== undefined && (typeof variant !== "string" || !/^\w[\w.-]*$/.test(variant)))
    throw invalid(`variant ${JSON.stringify(variant)} is not a name like "fp16"`);
  if (concurrency !== undefined && !(Number.isSafeInteger(concurrency) && concurrency > 0))
    throw invalid("concurrency must be a positive whole number");
  for (const [name, value] of Object.entries({ retries, retryDelay, idleTimeout }))
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0))
      throw invalid(`${name} must be a whole number, not negative`);
}

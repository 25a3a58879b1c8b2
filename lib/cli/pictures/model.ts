import { join } from "node:path";
import {
  type Checkpoint,
  checkpointAt,
  describedBy,
  partsOfCheckpoint,
  withBase,
} from "../../components/checkpoint.js";
import { checkPipeline, givenComponents, type PipelineDescription, slotsOf } from "../../components/description.js";
import { filesOf } from "../../components/files.js";
import { loadComponents, neededFolders } from "../../components/load.js";
import type { LoadProgress } from "../../components/load-progress.js";
import { withModelsAt } from "../../components/model-at.js";
import { type ModelIndex, readModelIndex } from "../../components/model-index.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { isFile } from "../../files/is-file.js";
import { type DownloadProgress, resolvePretrained } from "../../hub/index.js";
import type { DiffusionPipeline } from "../../pipelines/diffusion_pipeline.js";
import type { SchedulerFactory } from "../../schedulers/registry.js";
import { loadSingleFile, type SingleFileComponents } from "../../single-file/load.js";
import type { CommandIo } from "../command.js";
import type { ModelConfigs, PictureModel } from "./job.js";
import type { PictureValues } from "./options.js";
import type { PictureReporter } from "./reporter.js";

/** Components that are left out. */
const NO_SAFETY_CHECK = { safetyChecker: null, featureExtractor: null };

/** The components of whatever pipeline the job has. */
type LoadedComponents = SingleFileComponents;

interface Surroundings extends Pick<CommandIo, "env" | "signal"> {
  reporter: PictureReporter;
  /** Used instead of the model's own. */
  scheduler: SchedulerFactory | undefined;
}

/** What a checkpoint of training adds to the base model that it is loaded with. */
interface Trained {
  readonly checkpoint: Checkpoint;
  readonly parts: Record<string, unknown>;
}

/**
 * Finds the model of `--model`: a folder, a repository of the hub, which is downloaded, a single file, or a checkpoint of
 * training, with the base model that it names. Before weights are downloaded or read, its configurations are checked for the job.
 *
 * @returns loads it to a device
 */
export async function findModel<P extends DiffusionPipeline>(
  values: PictureValues,
  job: PictureModel<P>,
  surroundings: Surroundings,
): Promise<(device: string) => Promise<P>> {
  const checkpoint = values.model === undefined ? undefined : await checkpointAt(values.model);
  if (!checkpoint) return await findPlain(values, job, surroundings);
  refuseConfig(values);
  checkUse(job, checkpoint.index);
  const { model, revision, config } = checkpoint.base;
  const { variant = checkpoint.base.variant, cacheDir, localFilesOnly } = values;
  const hub = { variant, cacheDir, localFilesOnly, signal: surroundings.signal };
  const parts = await partsOfCheckpoint(checkpoint, job.pipelineClass.description, hub);
  const base = { ...values, model, revision, variant, config };
  return await withBase(checkpoint, () => findPlain(base, job, surroundings, { checkpoint, parts }));
}

async function findPlain<P extends DiffusionPipeline>(
  values: PictureValues,
  job: PictureModel<P>,
  { env, signal, reporter, scheduler }: Surroundings,
  trained?: Trained,
): Promise<(device: string) => Promise<P>> {
  const { dtype, vaeDtype, allowNonFinite, quantization, variant, attention, revision, cacheDir, localFilesOnly } =
    values;
  const { pipelineClass } = job;
  const ofModel = (asked: PipelineDescription<LoadedComponents>) =>
    trained ? describedBy(trained.checkpoint, asked) : asked;
  const description = ofModel(withCheck(job, scheduler));
  const create = (components: LoadedComponents) => {
    const own = components.scheduler;
    return new pipelineClass({ ...components, scheduler: scheduler ? scheduler.fromConfig(own.config) : own });
  };
  const tellStage = (progress: LoadProgress | DownloadProgress) => {
    if (progress.stage === "load") reporter.stage(progress);
  };
  const located = await withModelsAt(
    slotsOf(description),
    job.given ?? {},
    { variant, cacheDir, localFilesOnly, signal },
    env,
  );
  const beside = givenComponents(description, located);
  const options = {
    dtype,
    vaeDtype,
    allowNonFinite,
    quantization,
    attention,
    signal,
    onProgress: tellStage,
    ...beside,
  };
  if (values.model !== undefined && (await isFile(values.model))) {
    if (job.use) throw invalid("model must be a folder or a repository, not a file");
    if (variant !== undefined) throw invalid("variant chooses among the files of a folder, but the model is a file");
    const file = values.model;
    reporter.loading(trained?.checkpoint.folder ?? file);
    const others = { config: values.config, revision, cacheDir, localFilesOnly, ...trained?.parts };
    return async (device) => create(await loadSingleFile(description, file, { ...options, ...others, device }));
  }
  refuseConfig(values);
  // Without the checker, what prepares results for it is of no use either.
  const without = values.safetyChecker || !("safetyChecker" in description.components) ? {} : NO_SAFETY_CHECK;
  const given = { ...(trained?.parts as Partial<LoadedComponents>), ...beside, ...without };
  const needed = neededFolders(description, given);
  let checked: string | undefined;
  const checkConfigs = async (at: string) => {
    if (!trained) checkUse(job, await readModelIndex(at));
    await checkPipeline(description, at, given);
    checked = at;
  };
  const onProgress = (progress: DownloadProgress) => reporter.downloading(progress);
  const from = { revision, variant, cacheDir, localFilesOnly, onProgress, signal, ...needed, checkConfigs };
  const folder = await resolvePretrained(values.model ?? job.builtIn!, from, env);
  if (checked !== folder) await checkConfigs(folder);
  reporter.loading(trained?.checkpoint.folder ?? folder);
  if (values.verbose) await tellWhatIsNotLoaded(folder, neededFolders(description, without), reporter);
  const plain = ofModel(pipelineClass.description as PipelineDescription<LoadedComponents>);
  const loading = { ...options, ...given, variant };
  return async (device) => create(await loadComponents(plain, folder, { ...loading, device }));
}

function refuseConfig({ config }: PictureValues): void {
  if (config !== undefined) throw invalid("config is for a model in a single file, but the model is none");
}

/** The pipeline's description whose check is the job's too. */
function withCheck(
  { pipelineClass: { description }, checkModel }: Pick<PictureModel<DiffusionPipeline>, "pipelineClass" | "checkModel">,
  scheduler: SchedulerFactory | undefined,
): PipelineDescription<LoadedComponents> {
  return {
    ...(description as PipelineDescription<LoadedComponents>),
    check(configs, index) {
      description.check?.(configs, index);
      const taken = scheduler ? scheduler.fromConfig(configs.scheduler.config) : configs.scheduler;
      const withTaken = { ...configs, scheduler: taken };
      description.check?.(withTaken, index);
      checkModel(withTaken as unknown as ModelConfigs);
    },
  };
}

/** Refuses a folder that names a class which the job is not for. */
function checkUse(
  { use, pipelineClass }: Pick<PictureModel<DiffusionPipeline>, "use" | "pipelineClass">,
  { className, path }: ModelIndex,
): void {
  const wanted = pipelineClass.description.className;
  if (!use || className === wanted) return;
  const instead = use(className);
  const advice = instead ? `: give ${instead}` : `, which ${use(wanted)} is not for`;
  throw new InstructPix2PixError("ERR_CONFIG", `${path} names a ${className}${advice}`);
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}

/** Names components that are not used, such as a safety checker without files. */
async function tellWhatIsNotLoaded(
  folder: string,
  { components: parts, optionalComponents: optional }: ReturnType<typeof neededFolders>,
  reporter: PictureReporter,
): Promise<void> {
  for (const [name, component] of (await readModelIndex(folder)).components) {
    if (!component) continue;
    const files = filesOf(component);
    const found = !optional?.includes(name) || !("config" in files) || (await isFile(join(folder, name, files.config)));
    if (!parts?.includes(name) || !found) reporter.detail(`${name} (${component.className}) is not loaded`);
  }
}

import { checkPipeline, slotsOf } from "../../components/description.js";
import { readModelIndex } from "../../components/model-index.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { isFile } from "../../files/is-file.js";
import { type DownloadProgress, resolvePretrained } from "../../hub/index.js";
import { builtInModel } from "../../models/built-in.js";
import { INSTRUCT_PIX2PIX } from "../../pipelines/components.js";
import { InstructPix2PixPipeline } from "../../pipelines/stable_diffusion/instruct_pix2pix.js";
import type { CommandIo } from "../command.js";
import type { EditValues } from "./options.js";
import type { EditReporter } from "./reporter.js";

const PARTS: readonly string[] = slotsOf(INSTRUCT_PIX2PIX).map(([, { folder }]) => folder);

interface Surroundings extends Pick<CommandIo, "env" | "signal"> {
  reporter: EditReporter;
}

/**
 * Finds the model of `--model`: a folder, a repository of the hub, which is downloaded, or a single file.
 *
 * @returns loads it to a device
 */
export async function findModel(
  values: EditValues,
  { env, signal, reporter }: Surroundings,
): Promise<(device: string) => Promise<InstructPix2PixPipeline>> {
  const { dtype, vaeDtype, allowNonFinite, quantization, variant, attention, revision, cacheDir, localFilesOnly } =
    values;
  const options = { dtype, vaeDtype, allowNonFinite, quantization, attention, signal };
  if (values.model !== undefined && (await isFile(values.model))) {
    if (variant !== undefined) throw invalid("variant chooses among the files of a folder, but the model is a file");
    const file = values.model;
    reporter.loading(file);
    const hub = { config: values.config, revision, cacheDir, localFilesOnly };
    return (device) => InstructPix2PixPipeline.fromSingleFile(file, { ...options, ...hub, device });
  }
  if (values.config !== undefined) throw invalid("config is for a model in a single file, but the model is none");
  const onProgress = (progress: DownloadProgress) => reporter.downloading(progress);
  const checkConfigs = (at: string) => checkPipeline(INSTRUCT_PIX2PIX, at);
  const from = { revision, variant, cacheDir, localFilesOnly, onProgress, signal, components: PARTS, checkConfigs };
  if (values.model === undefined)
    reporter.warning("no --model is given: the built-in one is used, which knows 64×64 pictures of simple shapes only");
  const folder = await resolvePretrained(values.model ?? builtInModel, from, env);
  reporter.loading(folder);
  if (values.verbose) await tellWhatIsNotLoaded(folder, reporter);
  return (device) => InstructPix2PixPipeline.fromPretrained(folder, { ...options, variant, device });
}

/** Names components that editing does not use, such as a safety checker. */
async function tellWhatIsNotLoaded(folder: string, reporter: EditReporter): Promise<void> {
  const { components } = await readModelIndex(folder);
  for (const [name, component] of components)
    if (component && !PARTS.includes(name)) reporter.detail(`${name} (${component.className}) is not loaded`);
}

function invalid(problem: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
}

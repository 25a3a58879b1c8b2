import { type ResolveOptions, resolvePretrained } from "../hub/index.js";
import { native } from "../runtime/native.js";
import { MODEL_INDEX, type ModelIndex, readModelIndex } from "./model-index.js";

type Options = Pick<ResolveOptions, "revision" | "cacheDir" | "token" | "localFilesOnly" | "signal">;

/**
 * The class that the index of a pipeline's folder or repository names, of which nothing else is downloaded.
 *
 * @throws `ERR_LIBTORCH_NOT_FOUND` before anything else, `ERR_FILE_NOT_FOUND`, `ERR_HUB`, `ERR_CONFIG`
 */
export async function readPipelineClass(pathOrId: string, options: Options = {}): Promise<string> {
  return (await readPipelineIndex(pathOrId, options)).className;
}

/** As {@link readPipelineClass}, the whole index. */
export async function readPipelineIndex(pathOrId: string, options: Options = {}): Promise<ModelIndex> {
  native();
  const { revision, cacheDir, token, localFilesOnly, signal } = options;
  const from = { revision, cacheDir, token, localFilesOnly, signal };
  return await readModelIndex(await resolvePretrained(pathOrId, { ...from, allowPatterns: [MODEL_INDEX] }));
}

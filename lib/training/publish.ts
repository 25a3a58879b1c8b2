import { basename, resolve } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { isRepositoryId } from "../hub/repository.js";
import { HubUploader } from "../hub/upload.js";
import type { Environment } from "../runtime/platform.js";
import type { TrainEvent } from "./events.js";
import { modelFiles } from "./model-files.js";
import type { TrainOptions } from "./options.js";

type PublishOptions = Pick<TrainOptions, "outputDir" | "pushToHub" | "hubModelId" | "hubToken">;

/**
 * The hub repository for a run's model. Problems are detected before the run as far as possible: an invalid name or
 * token by {@link Publication.open}, missing write access by {@link Publication.prepare}.
 */
export class Publication {
  /** `owner/name` */
  readonly repository: string;
  readonly #uploader: HubUploader;

  private constructor(repository: string, uploader: HubUploader) {
    this.repository = repository;
    this.#uploader = uploader;
  }

  /**
   * Looks up the token's user on the hub; changes nothing there.
   *
   * @returns undefined if nothing is to be published
   * @throws `ERR_INVALID_ARGUMENT` without a token, offline, or for an invalid repository name; `ERR_HUB` for a token
   * that is invalid or read-only, and if the hub is unreachable
   */
  static async open(
    options: PublishOptions,
    signal?: AbortSignal,
    env: Environment = process.env,
  ): Promise<Publication | undefined> {
    if (!options.pushToHub) return undefined;
    const name = options.hubModelId ?? basename(resolve(options.outputDir));
    if (!isRepositoryId(name))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        options.hubModelId === undefined
          ? `pushToHub: the output folder's name ${JSON.stringify(name)} is none for a repository; give hubModelId`
          : `hubModelId ${JSON.stringify(name)} must be NAME or OWNER/NAME, of letters, digits, "-", "_" and "."`,
      );
    const uploader = await HubUploader.open({ token: options.hubToken }, env);
    try {
      const account = await uploader.account(signal);
      return new Publication(name.includes("/") ? name : `${account}/${name}`, uploader);
    } catch (error) {
      await uploader.close();
      throw error;
    }
  }

  /**
   * Creates the repository if it does not exist.
   *
   * @throws `ERR_HUB`, also without write access
   */
  async prepare(signal?: AbortSignal): Promise<void> {
    await this.#uploader.createRepository(this.repository, signal);
  }

  /**
   * Uploads the model and its card, and nothing else from the output folder.
   *
   * @throws `ERR_HUB`, `ERR_IO`, `ERR_ABORTED`, each saying that the local model is complete
   */
  async publish(
    outputDir: string,
    {
      title,
      onEvent,
      signal,
    }: { title: string; onEvent: (event: TrainEvent) => void; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const { repository } = this;
    try {
      const { commit, url } = await this.#uploader.upload(repository, await modelFiles(outputDir), {
        title,
        signal,
        onProgress: ({ file, allUploadedBytes, allTotalBytes }) =>
          onEvent({ type: "publishing", repository, file, doneBytes: allUploadedBytes, totalBytes: allTotalBytes }),
      });
      onEvent({ type: "published", repository, commit, url });
    } catch (error) {
      if (!(error instanceof InstructPix2PixError)) throw error;
      throw new InstructPix2PixError(
        error.code,
        `${error.message}; the model was not uploaded, but is safe in ${outputDir}`,
        { cause: error },
      );
    }
  }

  async close(): Promise<void> {
    await this.#uploader.close();
  }
}

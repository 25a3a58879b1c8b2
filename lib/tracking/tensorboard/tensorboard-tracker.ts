import { join, resolve } from "node:path";
import { ioError } from "../../files/io-error.js";
import type { Encoded } from "../protobuf.js";
import type { Outcome, TrackedConfig, TrackedImage, TrackedValues, Tracker } from "../tracker.js";
import { EventFile } from "./event-file.js";
import { image, restartEvent, scalar, sessionEnd, sessionStart, summaryEvent, text } from "./summary.js";

export interface TensorBoardOptions {
  outputDir: string;
  /** Relative to `outputDir`, or absolute. */
  loggingDir: string;
  /** The run's folder in `loggingDir`. */
  project: string;
  /** The optimizer steps of the checkpoint that the run resumes from, 0 for a new run. */
  resumeStep: number;
}

/**
 * Event files that TensorBoard reads, in `<output_dir>/<logging_dir>/<project>` as diffusers' script has them. Numbers
 * become scalars, texts text, options hyperparameters; images are numbered below their name, with their captions as
 * text. Each run and each resumption writes a new file, which tells TensorBoard to discard earlier files' values of
 * later steps.
 */
export class TensorBoardTracker implements Tracker {
  readonly name = "tensorboard";
  readonly folder: string;
  readonly #resumeStep: number;
  #file: EventFile | undefined;

  constructor({ outputDir, loggingDir, project, resumeStep }: TensorBoardOptions) {
    this.folder = join(resolve(outputDir, loggingDir), project);
    this.#resumeStep = resumeStep;
  }

  /** @throws `ERR_IO` if the folder cannot be written to */
  async init(config: TrackedConfig): Promise<void> {
    try {
      this.#file = await EventFile.create(this.folder);
      const now = Date.now() / 1000;
      const options = `\`\`\`json\n${JSON.stringify(config, null, 2)}\n\`\`\``;
      await this.#file.write([
        restartEvent(now, this.#resumeStep + 1),
        summaryEvent(now, this.#resumeStep, [sessionStart(config, now), text("config", options)]),
      ]);
    } catch (error) {
      throw ioError("write to", this.folder, error);
    }
  }

  /** @throws `ERR_IO` */
  async log(values: TrackedValues, step: number): Promise<void> {
    const encoded = Object.entries(values).flatMap(([name, value]) => {
      if (value === null) return [];
      return [typeof value === "string" ? text(name, value) : scalar(name, Number(value))];
    });
    await this.#write(encoded, step);
  }

  /** @throws `ERR_IO` */
  async images(name: string, images: readonly TrackedImage[], step: number): Promise<void> {
    const encoded: Encoded[] = [];
    for (const [i, { image: picture }] of images.entries())
      encoded.push(image(`${name}/${i}`, picture.width, picture.height, await picture.encode("png")));
    if (images.some(({ caption }) => caption))
      encoded.push(text(`${name}/captions`, images.map(({ caption }, i) => `${i}. ${caption ?? ""}`).join("\n")));
    await this.#write(encoded, step);
  }

  async flush(): Promise<void> {}

  state(): undefined {
    return undefined;
  }

  /** @throws `ERR_IO` */
  async finish({ succeeded }: Outcome): Promise<void> {
    const file = this.#file;
    if (!file) return;
    try {
      const now = Date.now() / 1000;
      await file.write([summaryEvent(now, 0, [sessionEnd(succeeded, now)])]);
    } catch (error) {
      throw ioError("write", file.path, error);
    } finally {
      this.#file = undefined;
      await file.close();
    }
  }

  async #write(values: readonly Encoded[], step: number): Promise<void> {
    const file = this.#file;
    if (!file || values.length === 0) return;
    try {
      await file.write([summaryEvent(Date.now() / 1000, step, values)]);
    } catch (error) {
      throw ioError("write", file.path, error);
    }
  }
}

import { InstructPix2PixError } from "../../core/errors.js";
import { surveyCheckpoints } from "./survey.js";

/** A checkpoint in a run's output folder. */
export interface CheckpointInfo {
  /** Optimizer steps done. */
  step: number;
  path: string;
  /** "unknown" for one without a readable manifest: damaged, or of another origin. */
  writtenBy: "instruct-pix2pix" | "diffusers" | "unknown";
  /** The time at which this package wrote it, if its manifest says so. */
  writtenAt?: Date;
}

const WRITERS = { ours: "instruct-pix2pix", diffusers: "diffusers", unknown: "unknown" } as const;

/**
 * The checkpoints in a run's output folder, lowest step first, as their manifests describe them; their other files are not
 * verified, which resuming does.
 *
 * @returns none if the folder does not exist
 * @throws `ERR_IO` if the folder or a manifest cannot be read
 *
 * @example
 * ```js
 * import { listCheckpoints } from "instruct-pix2pix";
 *
 * for (const { step, path } of await listCheckpoints("./my-model")) console.log(step, path);
 * ```
 */
export async function listCheckpoints(outputDir: string): Promise<CheckpointInfo[]> {
  if (typeof outputDir !== "string" || outputDir === "")
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "outputDir must be the path of a run's output folder");
  return (await surveyCheckpoints(outputDir)).map((found) => ({
    step: found.step,
    path: found.path,
    writtenBy: WRITERS[found.kind],
    ...(found.kind === "ours" &&
      found.manifest.writtenAt !== undefined && { writtenAt: new Date(found.manifest.writtenAt) }),
  }));
}

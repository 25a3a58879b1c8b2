import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { declareOptions, type OptionValues } from "../../options/declaration.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import { usage } from "./check.js";
import { MODEL } from "./options.js";

/** The adapters of a command. */
export const loraOptions = declareOptions({
  lora: {
    type: "strings",
    value: "FILE[:WEIGHT]",
    group: MODEL,
    help: "a LoRA for the model, in the format of diffusers or of kohya's scripts: a safetensors file, a folder, or the id of a repository on the hub; WEIGHT says how much it counts, by default 1; repeat the flag for several",
  },
});

export type LoraValues = OptionValues<typeof loraOptions>;

export interface GivenLora {
  source: string;
  weight: number;
}

/**
 * The adapters of `--lora`.
 *
 * @throws `ERR_USAGE`
 */
export function parseLoras({ lora = [] }: Partial<LoraValues>): GivenLora[] {
  return lora.map((text) => {
    const [, source, number] = /^(.*?)(?::([-+]?(?:\d+\.?\d*|\.\d+)))?$/s.exec(text)!;
    if (!source) throw usage(`--lora takes FILE or FILE:WEIGHT, not ${quote(text)}`);
    return { source, weight: number === undefined ? 1 : Number(number) };
  });
}

/** Loads adapters, whose errors name them. */
export async function loadLoras(
  pipeline: LatentPipeline,
  loras: readonly GivenLora[],
  from: { cacheDir: string | undefined; localFilesOnly: boolean; signal: AbortSignal | undefined },
): Promise<void> {
  const { cacheDir, localFilesOnly, signal } = from;
  const hub = { localFilesOnly, ...(cacheDir === undefined ? {} : { cacheDir }), ...(signal ? { signal } : {}) };
  for (const { source, weight } of loras) {
    try {
      await pipeline.loadLoraWeights(source, { weight, ...hub });
    } catch (error) {
      if (!(error instanceof InstructPix2PixError)) throw error;
      throw new InstructPix2PixError(error.code, `--lora ${quote(source)}: ${error.message}`, { cause: error });
    }
  }
}

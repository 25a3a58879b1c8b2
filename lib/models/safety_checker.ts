import { checkOptions, optionNames } from "../core/known-options.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { cancellable, native } from "../runtime/native.js";
import { modelInput } from "./check-input.js";
import {
  CLIP_VISION_SCHEMA,
  type CLIPVisionConfig,
  clipVisionDescription,
} from "./clip_vision_model_with_projection.js";
import { partOfClipConfig } from "./clip-config.js";
import { loadPretrained, type ModelDescription, type ModelOptions, PretrainedModel } from "./pretrained.js";
import { ignored, integer, type JsonObject, LIMITS, parseConfig } from "./schema.js";

/** The keys of a whole CLIP's config.json, of which the checker has the image encoder. */
const SCHEMA = {
  model_type: ignored,
  architectures: ignored,
  projection_dim: integer(512, LIMITS.features),
  text_config: ignored,
  vision_config: ignored,
  initializer_factor: ignored,
  logit_scale_init_value: ignored,
  dtype: ignored,
  torch_dtype: ignored,
  transformers_version: ignored,
};

/** Written by versions of transformers, and replaced by `vision_config` where they are read. */
const REPLACED = ["text_config_dict", "vision_config_dict"];

/** The configuration of a safety checker, with the keys of its `config.json`. */
export interface SafetyCheckerConfig {
  /** Width of the embeddings of images and concepts. */
  projection_dim: number;
  vision_config: CLIPVisionConfig;
}

const description: ModelDescription<SafetyCheckerConfig> = {
  kind: "StableDiffusionSafetyChecker",
  library: "transformers",
  module: "stable_diffusion",
  modelType: "clip",
  floats: [...clipVisionDescription.floats!, "logit_scale_init_value"],
  parse(config: JsonObject, where) {
    const known = Object.entries(config).filter(([name]) => !REPLACED.includes(name));
    const parsed = parseConfig(SCHEMA, Object.fromEntries(known), where);
    const vision = partOfClipConfig(config, "vision", { where, known: CLIP_VISION_SCHEMA });
    const { projection_dim } = parsed;
    return { ...parsed, projection_dim, vision_config: clipVisionDescription.parse(vision, `${where}: vision_config`) };
  },
  toNative: ({ vision_config, projection_dim }) => ({ ...vision_config, projection_dim }),
};

/** What the checker makes of images. */
export interface SafetyCheckerOutput {
  /** For each image, whether it is too near to a concept. */
  nsfw: boolean[];
  /** [B,17]: by how much it is above the threshold of each concept. */
  conceptScores: Tensor;
  /** [B,3]: likewise of the concepts that make the others' thresholds lower. */
  specialScores: Tensor;
}

const FORWARD_OPTIONS = optionNames<{ signal?: AbortSignal }>()({ signal: true });

/** What a special concept that is found adds to all scores behind it. */
const ADJUSTMENT = Math.fround(0.01);

/**
 * The safety checker of Stable Diffusion: it compares the CLIP embeddings of images with those of 17 concepts, each with a
 * threshold, and of 3 special ones that make the other thresholds lower (Rando et al. 2022, https://arxiv.org/abs/2210.04610,
 * found out how it works).
 *
 * @example
 * ```js
 * import { CLIPImageProcessor, StableDiffusionSafetyChecker } from "instruct-pix2pix";
 *
 * const processor = await CLIPImageProcessor.fromPretrained("./model/feature_extractor");
 * const checker = await StableDiffusionSafetyChecker.fromPretrained("./model/safety_checker");
 * const { nsfw } = await checker.forward(await processor.preprocess("photo.jpg"));
 * console.log(nsfw); // one for each image
 * checker.dispose();
 * ```
 */
export class StableDiffusionSafetyChecker extends PretrainedModel<SafetyCheckerConfig> {
  /** @internal */
  static readonly description = description;

  /**
   * Loads a folder with `config.json` and `model*.safetensors`.
   *
   * @throws as {@link UNet2DConditionModel.fromPretrained}
   */
  static async fromPretrained(folder: string, options: ModelOptions = {}): Promise<StableDiffusionSafetyChecker> {
    return new StableDiffusionSafetyChecker(await loadPretrained(description, folder, options));
  }

  /**
   * @param pixelValues [B,num_channels,image_size,image_size], as {@link CLIPImageProcessor} makes them
   * @throws `ERR_INVALID_ARGUMENT` for another shape
   */
  async forward(pixelValues: Tensor, options?: { signal?: AbortSignal }): Promise<SafetyCheckerOutput> {
    const { signal } = checkOptions(options, FORWARD_OPTIONS);
    const channels = { axis: 1, size: this.config.vision_config.num_channels, unit: "channels" };
    const input = modelInput(pixelValues, "pixelValues", "[B,C,H,W]", channels);
    const output = await this.computing(() =>
      cancellable(signal, (token) => native().safetyCheckerForward(this.handle, input, token)),
    );
    using scope = new Scope();
    const values = async (handle: (typeof output)["concepts"]) =>
      (await scope.add(new Tensor(handle)).toArray()) as Float32Array;
    const cosines = { special: await values(output.specialCare), concepts: await values(output.concepts) };
    const special = await values(output.specialCareThresholds);
    const concepts = await values(output.conceptThresholds);
    const rows = Array.from({ length: pixelValues.shape[0]! }, (_, i) => {
      const row = (all: Float32Array, { length }: Float32Array) => all.subarray(i * length, (i + 1) * length);
      return scoresOf(
        { cosines: row(cosines.special, special), thresholds: special },
        { cosines: row(cosines.concepts, concepts), thresholds: concepts },
      );
    });
    const table = (name: "special" | "concepts", width: number) =>
      Tensor.from(Float32Array.from(rows.flatMap((row) => row[name])), [rows.length, width]);
    return {
      nsfw: rows.map((row) => row.concepts.some((score) => score > 0)),
      conceptScores: table("concepts", concepts.length),
      specialScores: table("special", special.length),
    };
  }
}

interface Compared {
  cosines: Float32Array;
  thresholds: Float32Array;
}

/** An image's scores, in float32 and rounded to thousandths as NumPy does it: only what is left of a score counts. */
function scoresOf(special: Compared, concepts: Compared): { special: number[]; concepts: number[] } {
  let adjustment = 0;
  const score = ({ cosines, thresholds }: Compared, i: number) => {
    const above = Math.fround(Math.fround(cosines[i]! - thresholds[i]!) + adjustment);
    return Math.fround(roundedToEven(Math.fround(above * 1000)) / 1000);
  };
  const each = (compared: Compared, found: (score: number) => void = () => {}) =>
    Array.from(compared.cosines, (_, i) => {
      const value = score(compared, i);
      found(value);
      return value;
    });
  const specialScores = each(special, (value) => {
    if (value > 0) adjustment = ADJUSTMENT;
  });
  return { special: specialScores, concepts: each(concepts) };
}

function roundedToEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

import { join } from "node:path";
import { CLIPImageProcessor, PROCESSOR_CONFIG } from "../conditioning/clip_image_processor.js";
import { tokenizePrompts } from "../conditioning/prompt.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { readConfig } from "../files/config.js";
import { isFile } from "../files/is-file.js";
import { type ResolveOptions, resolvePretrained } from "../hub/index.js";
import type { RgbImage } from "../images/index.js";
import { type CLIPTextConfig, clipTextDescription, PROJECTED_SCHEMA } from "../models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../models/clip_text_model_with_projection.js";
import {
  CLIP_VISION_SCHEMA,
  type CLIPVisionConfig,
  CLIPVisionModelWithProjection,
  clipVisionDescription,
} from "../models/clip_vision_model_with_projection.js";
import { partOfClipConfig } from "../models/clip-config.js";
import { MODEL_CONFIG } from "../models/format.js";
import { loadPretrained, type ModelDescription, readModelConfig } from "../models/pretrained.js";
import { integer, type JsonObject, LIMITS, unsupported } from "../models/schema.js";
import { checkVocabulary } from "../pipelines/compatibility.js";
import { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import { sampleBicubic } from "./bicubic.js";
import type { Planes } from "./planes.js";
import { normalised } from "./similarity.js";

/** The files of a CLIP in transformers' layout. */
const FILES = [
  ...[MODEL_CONFIG, PROCESSOR_CONFIG, "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"],
  ...["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"],
];

/** Means and deviations of the channels of the images that CLIP was trained with. */
const MEAN = [0.48145466, 0.4578275, 0.40821073];
const DEVIATION = [0.26862954, 0.26130258, 0.27577711];

const projection = integer(512, LIMITS.features);

/** Width of the space that texts and images share, which the parts of a CLIP do not say themselves. */
function sharedWidth(config: JsonObject, where: string): number {
  if (!Object.hasOwn(config, "projection_dim")) return projection.default;
  const width = projection.parse(config.projection_dim);
  if (width === undefined) throw unsupported(where, "projection_dim", config.projection_dim, projection.expected);
  return width;
}

/** How a part is read from the files of the whole. */
function partOf<Config>(
  description: ModelDescription<Config>,
  part: "text" | "vision",
  known: object,
): ModelDescription<Config> {
  return {
    ...description,
    parse(config, where) {
      if (config[`${part}_config`] == null && config[`${part}_config_dict`] == null)
        throw new InstructPix2PixError("ERR_CONFIG", `${where}: has no ${part}_config, as a whole CLIP has`);
      const own = partOfClipConfig(config, part, { where, known });
      return description.parse({ ...own, projection_dim: sharedWidth(config, where) }, `${where}: ${part}_config`);
    },
  };
}

const TEXT = partOf<CLIPTextConfig>(clipTextDescription("CLIPTextModelWithProjection"), "text", PROJECTED_SCHEMA);
const VISION = partOf<CLIPVisionConfig>(clipVisionDescription, "vision", CLIP_VISION_SCHEMA);

/** A CLIP whose files fit together, before its weights are read. */
export interface CheckedClip {
  readonly folder: string;
  readonly tokenizer: CLIPTokenizer;
  readonly processor: CLIPImageProcessor;
}

/**
 * Finds a CLIP, and checks what is known of it without its weights.
 *
 * @param pathOrId a folder as transformers saves a `CLIPModel`, or an id on the hub
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_HUB`, `ERR_CONFIG`, `ERR_TOKENIZER`
 */
export async function findClip(pathOrId: string, options: ResolveOptions): Promise<CheckedClip> {
  const folder = await resolvePretrained(pathOrId, { ...options, allowPatterns: FILES });
  const text = await readModelConfig(TEXT, folder);
  const { config: vision, where } = await readModelConfig(VISION, folder);
  if (vision.num_channels !== 3)
    throw unsupported(`${where}: vision_config`, "num_channels", vision.num_channels, "3, for images of three colours");
  const tokenizer = await CLIPTokenizer.fromPretrained(folder);
  checkVocabulary(tokenizer, text.config);
  return { folder, tokenizer, processor: await processorIn(folder, vision.image_size) };
}

/** What prepares images as CLIP's own program does, which needs no file. */
async function processorIn(folder: string, side: number): Promise<CLIPImageProcessor> {
  const path = join(folder, PROCESSOR_CONFIG);
  const config = (await isFile(path)) ? await readConfig(path) : {};
  const own = { size: { shortest_edge: side }, crop_size: { height: side, width: side } };
  const processor = new CLIPImageProcessor({ ...own, ...config });
  const { outputSize: size } = processor;
  if (size?.height === side && size.width === side) return processor;
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `${path}: "crop_size" makes images of ${size ? `${size.width}×${size.height}` : "any"} pixels, but the image encoder takes ${side}×${side}`,
  );
}

/** CLIP's features of texts and images, of length 1. */
export class Clip implements Disposable {
  readonly #text: CLIPTextModelWithProjection;
  readonly #vision: CLIPVisionModelWithProjection;
  readonly #parts: CheckedClip;

  private constructor(text: CLIPTextModelWithProjection, vision: CLIPVisionModelWithProjection, parts: CheckedClip) {
    this.#text = text;
    this.#vision = vision;
    this.#parts = parts;
  }

  /** @throws `ERR_STATE_DICT` for weights that do not fit the configuration, `ERR_OUT_OF_MEMORY`, `ERR_ABORTED` */
  static async load(parts: CheckedClip, options: { device: string; signal?: AbortSignal | undefined }): Promise<Clip> {
    const { device, signal } = options;
    const own = { device, ...(signal && { signal }) };
    const text = new CLIPTextModelWithProjection(await loadPretrained(TEXT, parts.folder, own));
    try {
      const vision = new CLIPVisionModelWithProjection(await loadPretrained(VISION, parts.folder, own));
      return new Clip(text, vision, parts);
    } catch (error) {
      text.dispose();
      throw error;
    }
  }

  async textFeatures(text: string, signal?: AbortSignal | undefined): Promise<Float32Array> {
    using scope = new Scope();
    const input = scope.add(tokenizePrompts([text], { tokenizer: this.#parts.tokenizer, textEncoder: this.#text }));
    const { lastHiddenState, pooled, textEmbeds } = await this.#text.forward(input, { signal });
    for (const tensor of [lastHiddenState, pooled]) scope.add(tensor);
    return normalised(await firstRow(scope.add(textEmbeds)));
  }

  /**
   * An image as the InstructPix2Pix paper's metrics take it: sampled to the encoder's size whatever its shape.
   *
   * @param asOriginal takes the values as -1..1, as the paper's program does by mistake, instead of 0..1
   */
  async sampledFeatures(image: Planes, asOriginal: boolean, signal?: AbortSignal | undefined): Promise<Float32Array> {
    const side = this.#vision.config.image_size;
    const { values } = sampleBicubic(image, side);
    const plane = side * side;
    const input = values.map((value, i) => {
      const channel = Math.floor(i / plane);
      return ((asOriginal ? 2 * value - 1 : value) - MEAN[channel]!) / DEVIATION[channel]!;
    });
    using pixels = Tensor.from(input, [1, 3, side, side]);
    return await this.#features(pixels, signal);
  }

  /** An image as CLIP's own program prepares it: the shorter edge resized, and the middle cut out. */
  async imageFeatures(image: RgbImage, signal?: AbortSignal | undefined): Promise<Float32Array> {
    using pixels = await this.#parts.processor.preprocess(image);
    return await this.#features(pixels, signal);
  }

  async #features(pixels: Tensor, signal: AbortSignal | undefined): Promise<Float32Array> {
    using scope = new Scope();
    const { lastHiddenState, pooled, imageEmbeds } = await this.#vision.forward(pixels, signal ? { signal } : {});
    for (const tensor of [lastHiddenState, pooled]) scope.add(tensor);
    return normalised(await firstRow(scope.add(imageEmbeds)));
  }

  dispose(): void {
    this.#text.dispose();
    this.#vision.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

async function firstRow(tensor: Tensor): Promise<Float32Array> {
  return (await tensor.toArray()) as Float32Array;
}

import { checkOptions, optionNames } from "../core/known-options.js";
import { Tensor } from "../core/tensor.js";
import { cancellable, native } from "../runtime/native.js";
import { modelInput } from "./check-input.js";
import {
  createModel,
  loadPretrained,
  type ModelDescription,
  type ModelOptions,
  type NewModelOptions,
  PretrainedModel,
} from "./pretrained.js";
import {
  ignored,
  integer,
  type JsonObject,
  LIMITS,
  number,
  oneOf,
  type Parsed,
  parseConfig,
  unsupported,
} from "./schema.js";

/** The keys of a CLIP image encoder's config.json that shape it, with transformers' defaults. */
export const CLIP_VISION_SCHEMA = {
  model_type: ignored,
  architectures: ignored,
  hidden_size: integer(768, LIMITS.channels),
  intermediate_size: integer(3072, LIMITS.features),
  projection_dim: integer(512, LIMITS.features),
  num_hidden_layers: integer(12, LIMITS.layers),
  num_attention_heads: integer(12, LIMITS.channels),
  num_channels: integer(3, LIMITS.channels),
  image_size: integer(224, LIMITS.positions),
  patch_size: integer(32, LIMITS.positions),
  hidden_act: oneOf("quick_gelu", ["quick_gelu", "gelu", "silu", "relu"]),
  layer_norm_eps: number(1e-5, true),
  attention_dropout: ignored,
  dropout: ignored,
  initializer_range: ignored,
  initializer_factor: ignored,
  dtype: ignored,
  torch_dtype: ignored,
  transformers_version: ignored,
};

/** The configuration of an image encoder, with the keys of its `config.json`. */
export type CLIPVisionConfig = Parsed<typeof CLIP_VISION_SCHEMA>;

/** How image encoders are read and stored. */
export const clipVisionDescription: ModelDescription<CLIPVisionConfig> = {
  kind: "CLIPVisionModelWithProjection",
  library: "transformers",
  modelType: "clip_vision_model",
  floats: ["layer_norm_eps", "initializer_range", "initializer_factor", "attention_dropout", "dropout"],
  parse: (config: JsonObject, where) => {
    const parsed = parseConfig(CLIP_VISION_SCHEMA, config, where);
    if (parsed.hidden_size % parsed.num_attention_heads !== 0)
      throw unsupported(
        where,
        "num_attention_heads",
        parsed.num_attention_heads,
        `a divisor of hidden_size ${parsed.hidden_size}`,
      );
    if (parsed.patch_size > parsed.image_size)
      throw unsupported(where, "patch_size", parsed.patch_size, `at most image_size ${parsed.image_size}`);
    return parsed;
  },
  toNative: (config) => config,
};

/** What `CLIPVisionModelWithProjection.forward` gives. */
export interface CLIPVisionOutput {
  /** [B,1+patches,hidden_size], before the layer norm; the first is the class token's. */
  lastHiddenState: Tensor;
  /** [B,hidden_size]: the class token's state behind the layer norm. */
  pooled: Tensor;
  /** [B,projection_dim]: the pooled state projected to the space that texts and images share. */
  imageEmbeds: Tensor;
}

const FORWARD_OPTIONS = optionNames<{ signal?: AbortSignal }>()({ signal: true });

/**
 * CLIP's image transformer with its projection (Radford et al. 2021, https://arxiv.org/abs/2103.00020): the image encoder
 * of Kandinsky 2.2's prior, and the measure of image similarity.
 *
 * @example
 * ```js
 * import { CLIPImageProcessor, CLIPVisionModelWithProjection } from "instruct-pix2pix";
 *
 * const processor = await CLIPImageProcessor.fromPretrained("./prior/image_processor");
 * const encoder = await CLIPVisionModelWithProjection.fromPretrained("./prior/image_encoder");
 * const { imageEmbeds } = await encoder.forward(await processor.preprocess("photo.jpg"));
 * console.log(imageEmbeds.shape);
 * encoder.dispose();
 * ```
 */
export class CLIPVisionModelWithProjection extends PretrainedModel<CLIPVisionConfig> {
  /** @internal */
  static readonly description = clipVisionDescription;

  /**
   * Loads a folder with `config.json` and `model*.safetensors`.
   *
   * @throws as {@link UNet2DConditionModel.fromPretrained}
   */
  static async fromPretrained(folder: string, options: ModelOptions = {}): Promise<CLIPVisionModelWithProjection> {
    return new CLIPVisionModelWithProjection(await loadPretrained(clipVisionDescription, folder, options));
  }

  /**
   * Creates a model with random float32 weights, to train from scratch.
   *
   * @param config as in `config.json`; missing keys get the file format's defaults
   * @throws `ERR_CONFIG`
   */
  static async fromConfig(
    config: Partial<CLIPVisionConfig>,
    options: NewModelOptions = {},
  ): Promise<CLIPVisionModelWithProjection> {
    return new CLIPVisionModelWithProjection(await createModel(clipVisionDescription, config, options));
  }

  /**
   * @param pixelValues [B,num_channels,image_size,image_size], as {@link CLIPImageProcessor} makes them
   * @throws `ERR_INVALID_ARGUMENT` for another shape
   */
  async forward(pixelValues: Tensor, options?: { signal?: AbortSignal }): Promise<CLIPVisionOutput> {
    const { signal } = checkOptions(options, FORWARD_OPTIONS);
    const channels = { axis: 1, size: this.config.num_channels, unit: "channels" };
    const input = modelInput(pixelValues, "pixelValues", "[B,C,H,W]", channels);
    const output = await this.computing(() =>
      cancellable(signal, (token) => native().clipVisionForward(this.handle, input, token)),
    );
    return {
      lastHiddenState: new Tensor(output.lastHiddenState),
      pooled: new Tensor(output.pooled),
      imageEmbeds: new Tensor(output.imageEmbeds),
    };
  }
}

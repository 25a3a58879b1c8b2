import { checkOptions, optionNames } from "../core/known-options.js";
import { Tensor } from "../core/tensor.js";
import { cancellable, native } from "../runtime/native.js";
import { AUTOENCODER_SCHEMA, checkLevels, scaleFactorOf } from "./autoencoder-config.js";
import { checkMultiple, modelInput } from "./check-input.js";
import {
  createModel,
  loadPretrained,
  type ModelDescription,
  type ModelOptions,
  type NewModelOptions,
  PretrainedModel,
} from "./pretrained.js";
import {
  boolean,
  integer,
  type JsonObject,
  LIMITS,
  nullable,
  oneOf,
  only,
  type Parsed,
  parseConfig,
  unsupported,
} from "./schema.js";

/** Every key of a VQModel's config.json, with its default. */
const SCHEMA = {
  ...AUTOENCODER_SCHEMA,
  latent_channels: integer(3, LIMITS.channels),
  num_vq_embeddings: integer(256, LIMITS.vocabulary),
  vq_embed_dim: nullable(integer(1, LIMITS.channels)),
  norm_type: oneOf("group", ["group", "spatial"]),
  lookup_from_codebook: only(false),
  force_upcast: boolean(false),
};

/** The configuration of a vector-quantized autoencoder, with the keys of its `config.json`. */
export type VQModelConfig = Parsed<typeof SCHEMA>;

/** Groups of a spatial norm, which no configuration names. */
const SPATIAL_NORM_GROUPS = 32;

const description: ModelDescription<VQModelConfig> = {
  kind: "VQModel",
  library: "diffusers",
  parse: (config: JsonObject, where) => {
    const parsed = parseConfig(SCHEMA, config, where);
    checkLevels(parsed, where);
    if (parsed.norm_type === "spatial") {
      const uneven = parsed.block_out_channels.find((channels) => channels % SPATIAL_NORM_GROUPS !== 0);
      if (uneven !== undefined)
        throw unsupported(
          where,
          "block_out_channels",
          parsed.block_out_channels,
          `multiples of ${SPATIAL_NORM_GROUPS}, since norm_type is "spatial"`,
        );
      if (embeddingWidth(parsed) !== parsed.latent_channels)
        throw unsupported(
          where,
          "vq_embed_dim",
          parsed.vq_embed_dim,
          `latent_channels ${parsed.latent_channels}, since norm_type is "spatial"`,
        );
    }
    return parsed;
  },
  toNative: (config) => ({ ...config, vq_embed_dim: embeddingWidth(config) }),
};

function embeddingWidth({ vq_embed_dim, latent_channels }: VQModelConfig): number {
  return vq_embed_dim ?? latent_channels;
}

const PASS_OPTIONS = optionNames<{ signal?: AbortSignal }>()({ signal: true });

/** Options of `VQModel.decode`. */
export interface VQDecodeOptions {
  /** Decodes the latents as they are, instead of the nearest entry of the codebook at every place. Default false. */
  forceNotQuantize?: boolean;
  signal?: AbortSignal;
}

const DECODE_OPTIONS = optionNames<VQDecodeOptions>()({ forceNotQuantize: true, signal: true });

/**
 * An autoencoder whose latents are entries of a codebook (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937); with
 * `norm_type` "spatial" that of Kandinsky 2.2 (MoVQ, Zheng et al. 2022, https://arxiv.org/abs/2209.09002).
 *
 * @example
 * ```js
 * import { Tensor, VQModel } from "instruct-pix2pix";
 *
 * const movq = await VQModel.fromPretrained("./decoder/movq");
 * const latents = await movq.encode(await Tensor.zeros([1, 3, 64, 64]));
 * const pixels = await movq.decode(latents);
 * console.log(latents.shape, pixels.shape);
 * movq.dispose();
 * ```
 */
export class VQModel extends PretrainedModel<VQModelConfig> {
  /** @internal */
  static readonly description = description;

  /**
   * Loads a folder with `config.json` and `diffusion_pytorch_model*.safetensors`.
   *
   * @throws as {@link UNet2DConditionModel.fromPretrained}
   */
  static async fromPretrained(folder: string, options: ModelOptions = {}): Promise<VQModel> {
    return new VQModel(await loadPretrained(description, folder, options));
  }

  /**
   * Creates a model with random float32 weights, to train from scratch.
   *
   * @param config as in `config.json`; missing keys get the file format's defaults
   * @throws `ERR_CONFIG`
   */
  static async fromConfig(config: Partial<VQModelConfig>, options: NewModelOptions = {}): Promise<VQModel> {
    return new VQModel(await createModel(description, config, options));
  }

  /** Pixels per latent along an edge: 8 in Kandinsky 2.2. */
  get scaleFactor(): number {
    return scaleFactorOf(this.config);
  }

  /**
   * @param x images [B,in_channels,H,W] in -1..1; H and W multiples of {@link scaleFactor}
   * @returns latents [B,vq_embed_dim,h,w], not quantized
   */
  async encode(x: Tensor, options?: { signal?: AbortSignal }): Promise<Tensor> {
    const { signal } = checkOptions(options, PASS_OPTIONS);
    const input = modelInput(x, "x", "[B,C,H,W]", { axis: 1, size: this.config.in_channels, unit: "channels" });
    checkMultiple(x, "x", this.scaleFactor);
    return new Tensor(
      await this.computing(() => cancellable(signal, (token) => native().vqEncode(this.handle, input, token))),
    );
  }

  /**
   * @param z latents [B,vq_embed_dim,h,w]
   * @returns images [B,out_channels,H,W], about -1..1
   */
  async decode(z: Tensor, options?: VQDecodeOptions): Promise<Tensor> {
    const { forceNotQuantize = false, signal } = checkOptions(options, DECODE_OPTIONS);
    const latents = modelInput(z, "z", "[B,C,h,w]", { axis: 1, size: embeddingWidth(this.config), unit: "channels" });
    return new Tensor(
      await this.computing(() =>
        cancellable(signal, (token) => native().vqDecode(this.handle, latents, !forceNotQuantize, token)),
      ),
    );
  }
}

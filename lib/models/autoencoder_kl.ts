import type { Generator } from "../core/generator.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { disposeAll, Tensor } from "../core/tensor.js";
import type { NativeTensor, NativeTiling } from "../runtime/contract/index.js";
import { cancellable, native } from "../runtime/native.js";
import { inferAutoencoderConfig } from "../single-file/autoencoder-config.js";
import { autoencoderNames } from "../single-file/autoencoder-names.js";
import { loadFromSingleFile, type SingleFileModelOptions, type SingleFileTables } from "../single-file/model.js";
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
  number,
  numbers,
  type Parsed,
  parseConfig,
  unsupported,
} from "./schema.js";

/** Every key of an autoencoder's config.json, with its default. */
const SCHEMA = {
  ...AUTOENCODER_SCHEMA,
  latent_channels: integer(4, LIMITS.channels),
  shift_factor: nullable(number(0)),
  /** The latents' statistics, one number for each channel, which SDXL pipelines normalise by if both are there. */
  latents_mean: nullable(numbers(LIMITS.channels)),
  latents_std: nullable(numbers(LIMITS.channels)),
  force_upcast: boolean(true),
  use_quant_conv: boolean(true),
  use_post_quant_conv: boolean(true),
};

/** The configuration of an autoencoder, with the keys of its `config.json`. */
export type AutoencoderKLConfig = Parsed<typeof SCHEMA>;

const description: ModelDescription<AutoencoderKLConfig> = {
  kind: "AutoencoderKL",
  library: "diffusers",
  parse: (config: JsonObject, where) => {
    const parsed = parseConfig(SCHEMA, config, where);
    checkLevels(parsed, where);
    for (const key of ["latents_mean", "latents_std"] as const)
      if (parsed[key] !== null && parsed[key].length !== parsed.latent_channels)
        throw unsupported(
          where,
          key,
          parsed[key],
          `${parsed.latent_channels} numbers, one for each of latent_channels`,
        );
    if (parsed.latents_std?.includes(0))
      throw unsupported(where, "latents_std", parsed.latents_std, "numbers without 0");
    return parsed;
  },
  toNative: (config) => config,
};

const singleFile: SingleFileTables<AutoencoderKLConfig> = {
  component: "vae",
  infer: inferAutoencoderConfig,
  names: (config) => autoencoderNames(config),
};

const PASS_OPTIONS = optionNames<{ signal?: AbortSignal }>()({ signal: true });

/** Share of a tile that overlaps its neighbour. */
const TILE_OVERLAP = 0.25;

/**
 * The diagonal Gaussian that the encoder predicts for each latent (Kingma & Welling 2014).
 *
 * @example
 * ```js
 * import { AutoencoderKL, Generator, Tensor } from "instruct-pix2pix";
 *
 * const vae = await AutoencoderKL.fromPretrained("./model/vae");
 * const posterior = await vae.encode(await Tensor.zeros([1, 3, 64, 64]));
 * const latents = await posterior.sample(new Generator("cpu", 42));
 * console.log(latents.shape, (await posterior.mode()).shape);
 * posterior.dispose();
 * vae.dispose();
 * ```
 */
export class DiagonalGaussian {
  /** [B,C,h,w] */
  readonly mean: Tensor;
  /** [B,C,h,w], clamped to -30..20 */
  readonly logvar: Tensor;

  /** @internal */
  constructor(mean: Tensor, logvar: Tensor) {
    this.mean = mean;
    this.logvar = logvar;
  }

  /** The most probable latents: a copy of the mean. */
  mode(): Promise<Tensor> {
    return this.mean.clone();
  }

  /** mean + std · noise; the noise is drawn in the latents' type. */
  async sample(generator?: Generator | readonly Generator[]): Promise<Tensor> {
    using noise = await Tensor.randn(this.mean.shape, {
      generator,
      dtype: this.mean.dtype,
      device: this.mean.device,
    });
    return await this.at(noise);
  }

  /** @internal mean + std · noise, for noise of the latents' shape and type. */
  async at(noise: Tensor): Promise<Tensor> {
    using half = await this.logvar.mul(0.5);
    using std = await half.exp();
    using scaled = await std.mul(noise);
    return await this.mean.add(scaled);
  }

  /** @internal The distribution whose parameters a function makes of these. */
  async map(change: (parameter: Tensor) => Promise<Tensor>): Promise<DiagonalGaussian> {
    const mean = await change(this.mean);
    try {
      return new DiagonalGaussian(mean, await change(this.logvar));
    } catch (error) {
      mean.dispose();
      throw error;
    }
  }

  dispose(): void {
    disposeAll(this.mean, this.logvar);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * The variational autoencoder of latent diffusion (Rombach et al. 2022, https://arxiv.org/abs/2112.10752).
 *
 * @example
 * ```js
 * import { AutoencoderKL, imageToTensor, Tensor, tensorToImage } from "instruct-pix2pix";
 *
 * const vae = await AutoencoderKL.fromPretrained("./model/vae");
 * const pixels = await imageToTensor("photo.jpg"); // in 0..1
 * const ones = await Tensor.full(pixels.shape, 1);
 * const posterior = await vae.encode(await Tensor.linearCombination([[2, pixels], [-1, ones]]));
 * const decoded = await vae.decode(await posterior.mode()); // in -1..1
 * const halves = await Tensor.full(decoded.shape, 0.5);
 * await (await tensorToImage(await Tensor.linearCombination([[0.5, decoded], [1, halves]]))).save("decoded.png");
 * vae.dispose();
 * ```
 */
export class AutoencoderKL extends PretrainedModel<AutoencoderKLConfig> {
  /** @internal */
  static readonly description = description;
  /** @internal */
  static readonly singleFile = singleFile;

  #slicing = false;
  #tiling = false;

  /**
   * Loads a folder with `config.json` and `diffusion_pytorch_model*.safetensors`; names of attention weights from
   * before diffusers 0.12 are supported.
   *
   * @throws as {@link UNet2DConditionModel.fromPretrained}
   */
  static async fromPretrained(folder: string, options: ModelOptions = {}): Promise<AutoencoderKL> {
    return new AutoencoderKL(await loadPretrained(description, folder, options));
  }

  /**
   * Loads the autoencoder of a single safetensors file in the original layout of Stable Diffusion 1 or 2, of a pipeline
   * or alone. Its
   * configuration is inferred from the names and shapes of the tensors, unless the option `config` names one.
   *
   * @param file path of the file
   * @throws as {@link AutoencoderKL.fromPretrained}; `ERR_STATE_DICT` for a file of another layout, saying what it is
   */
  static async fromSingleFile(file: string, options: SingleFileModelOptions = {}): Promise<AutoencoderKL> {
    return new AutoencoderKL(await loadFromSingleFile(description, singleFile, file, options));
  }

  /**
   * Creates a model with random float32 weights, to train from scratch.
   *
   * @param config as in `config.json`; missing keys get the file format's defaults
   * @throws `ERR_CONFIG`
   */
  static async fromConfig(config: Partial<AutoencoderKLConfig>, options: NewModelOptions = {}): Promise<AutoencoderKL> {
    return new AutoencoderKL(await createModel(description, config, options));
  }

  /** Pixels per latent along an edge: 8 in Stable Diffusion. */
  get scaleFactor(): number {
    return scaleFactorOf(this.config);
  }

  /** Encodes and decodes a batch row by row, which bounds memory; results differ by rounding at most. */
  enableSlicing(enabled = true): void {
    this.#slicing = enabled;
  }

  /**
   * Cuts images larger than `config.sample_size` into overlapping tiles, which bounds memory for any size. Results
   * differ a little from those without tiles.
   */
  enableTiling(enabled = true): void {
    this.#tiling = enabled;
  }

  /**
   * @internal What is computed at once of images of this size.
   *
   * @param tiled default as {@link enableTiling} says
   */
  partsOf(
    { height, width, rows }: { height: number; width: number; rows: number },
    tiled = this.#tiling,
  ): { part: { height: number; width: number }; rows: number } {
    const edge = tiled ? this.#tileSize : Number.POSITIVE_INFINITY;
    return {
      part: { height: Math.min(height, edge), width: Math.min(width, edge) },
      rows: this.#slicing ? 1 : rows,
    };
  }

  /**
   * @param x images [B,in_channels,H,W] in -1..1; H and W multiples of {@link scaleFactor}
   * @returns the posterior of the latents [B,latent_channels,h,w], not multiplied by `config.scaling_factor`
   */
  async encode(x: Tensor, options?: { signal?: AbortSignal }): Promise<DiagonalGaussian> {
    checkOptions(options, PASS_OPTIONS);
    const input = this.#picture(x);
    checkMultiple(x, "x", this.scaleFactor);
    return await this.#encode(input, options);
  }

  /** @internal As {@link encode}, for any height and width, which are rounded down: training takes any `resolution`. */
  async encodeAnySize(x: Tensor, options?: { signal?: AbortSignal }): Promise<DiagonalGaussian> {
    return await this.#encode(this.#picture(x), options);
  }

  #picture(x: Tensor): NativeTensor {
    return modelInput(x, "x", "[B,C,H,W]", { axis: 1, size: this.config.in_channels, unit: "channels" });
  }

  async #encode(input: NativeTensor, options?: { signal?: AbortSignal }): Promise<DiagonalGaussian> {
    using moments = new Tensor(
      await this.computing(() =>
        cancellable(checkOptions(options, PASS_OPTIONS).signal, (token) =>
          native().vaeEncode(this.handle, input, this.#slicing, this.#tiles(), token),
        ),
      ),
    );
    const C = this.config.latent_channels;
    const mean = await moments.slice(1, 0, C);
    using logvar = await moments.slice(1, C, 2 * C);
    return new DiagonalGaussian(mean, await logvar.clamp(-30, 20));
  }

  /**
   * @param z latents [B,latent_channels,h,w], divided by `config.scaling_factor`
   * @returns images [B,out_channels,H,W], about -1..1
   */
  async decode(z: Tensor, options?: { signal?: AbortSignal }): Promise<Tensor> {
    checkOptions(options, PASS_OPTIONS);
    const { latent_channels } = this.config;
    const latents = modelInput(z, "z", "[B,C,h,w]", { axis: 1, size: latent_channels, unit: "channels" });
    return new Tensor(
      await this.computing(() =>
        cancellable(checkOptions(options, PASS_OPTIONS).signal, (token) =>
          native().vaeDecode(this.handle, latents, this.#slicing, this.#tiles(), token),
        ),
      ),
    );
  }

  #tiles(): NativeTiling | null {
    if (!this.#tiling) return null;
    const sampleMinSize = this.#tileSize;
    return { sampleMinSize, latentMinSize: Math.floor(sampleMinSize / this.scaleFactor), overlap: TILE_OVERLAP };
  }

  /** The edge of a tile in pixels. */
  get #tileSize(): number {
    const { sample_size } = this.config;
    return typeof sample_size === "number" ? sample_size : sample_size[0]!;
  }
}

import { checkOptions, optionNames } from "../core/known-options.js";
import { handleOf, Tensor } from "../core/tensor.js";
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
import { ignored, integer, type JsonObject, LIMITS, nullable, oneOf, type Parsed, parseConfig } from "./schema.js";

/** Every key of a prior's config.json, with its default. */
const SCHEMA = {
  num_attention_heads: integer(32, LIMITS.channels),
  attention_head_dim: integer(64, LIMITS.channels),
  num_layers: integer(20, LIMITS.layers),
  embedding_dim: integer(768, LIMITS.features),
  num_embeddings: integer(77, LIMITS.positions),
  additional_embeddings: integer(4, LIMITS.positions, 0),
  dropout: ignored, // of training
  time_embed_act_fn: oneOf("silu", ["silu", "swish", "mish", "gelu", "relu"]),
  norm_in_type: nullable(oneOf("layer", ["layer"])),
  embedding_proj_norm_type: nullable(oneOf("layer", ["layer"])),
  encoder_hid_proj_type: nullable(oneOf("linear", ["linear"]), "linear"),
  added_emb_type: nullable(oneOf("prd", ["prd"]), "prd"),
  time_embed_dim: nullable(integer(1, LIMITS.features)),
  embedding_proj_dim: nullable(integer(1, LIMITS.features)),
  clip_embed_dim: nullable(integer(1, LIMITS.features)),
};

/** The configuration of a prior, with the keys of its `config.json`. */
export type PriorTransformerConfig = Parsed<typeof SCHEMA>;

const description: ModelDescription<PriorTransformerConfig> = {
  kind: "PriorTransformer",
  library: "diffusers",
  parse: (config: JsonObject, where) => parseConfig(SCHEMA, config, where),
  toNative: (config) => ({
    ...config,
    time_embed_dim: config.time_embed_dim ?? config.num_attention_heads * config.attention_head_dim,
    embedding_proj_dim: config.embedding_proj_dim ?? config.embedding_dim,
    clip_embed_dim: config.clip_embed_dim ?? config.embedding_dim,
  }),
};

/** Options of `PriorTransformer.forward`. */
export interface PriorForwardOptions {
  /** Text states [B,num_embeddings,embedding_dim]; needed unless `encoder_hid_proj_type` is null. */
  encoderHiddenStates?: Tensor;
  /**
   * [B,num_embeddings], 0 for padding. With a mask a token looks at those before it only; default none: every token looks at
   * every other.
   */
  attentionMask?: Tensor;
  signal?: AbortSignal;
}

const FORWARD_OPTIONS = optionNames<PriorForwardOptions>()({
  encoderHiddenStates: true,
  attentionMask: true,
  signal: true,
});

/**
 * Predicts the embedding of an image from a noisy one and a text (Ramesh et al. 2022, "Hierarchical Text-Conditional Image
 * Generation with CLIP Latents", https://arxiv.org/abs/2204.06125).
 *
 * @example
 * ```js
 * import { PriorTransformer, Tensor } from "instruct-pix2pix";
 *
 * const prior = await PriorTransformer.fromPretrained("./prior/prior");
 * const { embedding_dim: width, num_embeddings: length } = prior.config;
 * const predicted = await prior.forward(await Tensor.randn([1, width]), 10, await Tensor.randn([1, width]), {
 *   encoderHiddenStates: await Tensor.randn([1, length, width]),
 * });
 * console.log(predicted.shape);
 * prior.dispose();
 * ```
 */
export class PriorTransformer extends PretrainedModel<PriorTransformerConfig> {
  /** @internal */
  static readonly description = description;

  /**
   * Loads a folder with `config.json` and `diffusion_pytorch_model*.safetensors`.
   *
   * @throws as {@link UNet2DConditionModel.fromPretrained}
   */
  static async fromPretrained(folder: string, options: ModelOptions = {}): Promise<PriorTransformer> {
    return new PriorTransformer(await loadPretrained(description, folder, options));
  }

  /**
   * Creates a model with random float32 weights, to train from scratch.
   *
   * @param config as in `config.json`; missing keys get the file format's defaults
   * @throws `ERR_CONFIG`
   */
  static async fromConfig(
    config: Partial<PriorTransformerConfig>,
    options: NewModelOptions = {},
  ): Promise<PriorTransformer> {
    return new PriorTransformer(await createModel(description, config, options));
  }

  /**
   * @param sample noisy image embeddings [B,embedding_dim]
   * @param timestep one for the whole batch, or one for each row
   * @param projEmbedding text embeddings [B,embedding_proj_dim]
   * @returns predicted image embeddings [B,clip_embed_dim]; [B,1,clip_embed_dim] if `added_emb_type` is null
   * @throws `ERR_INVALID_ARGUMENT` naming an input of the wrong shape
   */
  async forward(
    sample: Tensor,
    timestep: number | readonly number[],
    projEmbedding: Tensor,
    options?: PriorForwardOptions,
  ): Promise<Tensor> {
    const { encoderHiddenStates, attentionMask, signal } = checkOptions(options, FORWARD_OPTIONS);
    const features = (size: number) => ({ axis: 1, size, unit: "features" });
    const { embedding_dim, embedding_proj_dim } = this.config;
    const noisy = modelInput(sample, "sample", "[B,E]", features(embedding_dim));
    const text = modelInput(projEmbedding, "projEmbedding", "[B,E]", features(embedding_proj_dim ?? embedding_dim));
    const states = encoderHiddenStates === undefined ? null : handleOf(encoderHiddenStates, "encoderHiddenStates");
    const mask = attentionMask === undefined ? null : handleOf(attentionMask, "attentionMask");
    return new Tensor(
      await this.computing(() =>
        cancellable(signal, (token) =>
          native().priorForward(this.handle, noisy, [timestep].flat() as number[], text, states, mask, token),
        ),
      ),
    );
  }

  /** Brings predicted embeddings [B,clip_embed_dim] from the prior's normalised space to CLIP's. */
  async postProcessLatents(embeddings: Tensor): Promise<Tensor> {
    const handle = handleOf(embeddings, "embeddings");
    return new Tensor(await this.computing(() => native().priorPostProcess(this.handle, handle)));
  }
}

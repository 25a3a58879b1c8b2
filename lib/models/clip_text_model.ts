import { checkOptions, optionNames } from "../core/known-options.js";
import { listOfThisRealm } from "../core/realm.js";
import { handleOf, Tensor } from "../core/tensor.js";
import { cancellable, native } from "../runtime/native.js";
import { loadFromSingleFile, type SingleFileModelOptions, type SingleFileTables } from "../single-file/model.js";
import { inferTextEncoderConfig } from "../single-file/text-encoder-config.js";
import { openClipNames, transformersNames } from "../single-file/text-encoder-names.js";
import { type AdapterWeights, adapterWeights } from "./adapter-weights.js";
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
  only,
  type Parsed,
  parseConfig,
  unsupported,
} from "./schema.js";

/** The keys of a CLIP text encoder's config.json that shape it, with transformers' defaults. */
const SCHEMA = {
  model_type: ignored,
  architectures: ignored,
  vocab_size: integer(49408, LIMITS.vocabulary),
  hidden_size: integer(512, LIMITS.channels),
  intermediate_size: integer(2048, LIMITS.features),
  projection_dim: ignored, // of CLIPTextModelWithProjection
  num_hidden_layers: integer(12, LIMITS.layers),
  num_attention_heads: integer(8, LIMITS.channels),
  max_position_embeddings: integer(77, LIMITS.positions),
  hidden_act: oneOf("quick_gelu", ["quick_gelu", "gelu", "silu", "relu"]),
  layer_norm_eps: number(1e-5, true),
  attention_dropout: ignored,
  dropout: ignored,
  initializer_range: ignored,
  initializer_factor: ignored,
  pad_token_id: ignored,
  bos_token_id: ignored,
  eos_token_id: integer(49407, LIMITS.vocabulary, 0),
  dtype: ignored,
  torch_dtype: ignored,
  transformers_version: ignored,
  use_cache: ignored,
  return_dict: ignored,
  output_attentions: ignored,
  output_hidden_states: ignored,
  torchscript: ignored,
  use_bfloat16: ignored,
  problem_type: ignored,
  id2label: ignored,
  label2id: ignored,
  chunk_size_feed_forward: ignored,
  is_encoder_decoder: only(false),
  is_decoder: only(false),
  use_attention_mask: only(false),
  add_cross_attention: only(false),
};

/** The configuration of a text encoder, with the keys of its `config.json`. */
export type CLIPTextConfig = Parsed<typeof SCHEMA>;

/** The same of a text encoder with a projection. */
export const PROJECTED_SCHEMA = { ...SCHEMA, projection_dim: integer(512, LIMITS.features) };

/** How text models are read and stored: with their projection, or without. */
export const clipTextDescription = (
  kind: "CLIPTextModel" | "CLIPTextModelWithProjection",
): ModelDescription<CLIPTextConfig> => ({
  kind,
  library: "transformers",
  prefix: "text_model.",
  unprefixed: "text_projection.",
  modelType: "clip_text_model",
  floats: ["layer_norm_eps", "initializer_range", "initializer_factor", "attention_dropout", "dropout"],
  parse: (config: JsonObject, where) => {
    const parsed = parseConfig(kind === "CLIPTextModel" ? SCHEMA : PROJECTED_SCHEMA, config, where);
    if (parsed.hidden_size % parsed.num_attention_heads !== 0)
      throw unsupported(
        where,
        "num_attention_heads",
        parsed.num_attention_heads,
        `a divisor of hidden_size ${parsed.hidden_size}`,
      );
    return parsed;
  },
  toNative: (config) => ({ ...config, projection_dim: kind === "CLIPTextModel" ? 0 : config.projection_dim }),
});

const description = clipTextDescription("CLIPTextModel");

const singleFile: SingleFileTables<CLIPTextConfig> = {
  component: "text_encoder",
  infer: inferTextEncoderConfig,
  names: (config, { family }) => (family === "sd2" ? openClipNames(config, false) : transformersNames),
};

/** What `CLIPTextModel.forward` gives. */
export interface CLIPTextOutput {
  /** [B,T,hidden_size], after the final layer norm: the prompt embeddings of Stable Diffusion. */
  lastHiddenState: Tensor;
  /** [B,hidden_size]: the last hidden state at the end-of-text token. */
  pooled: Tensor;
  /** If they were asked for: the embeddings, then the output of each layer, all before the final layer norm. */
  hiddenStates?: Tensor[];
}

/** Options of `CLIPTextModel.forward`. */
export interface CLIPTextForwardOptions {
  /** Also returns the hidden states of all layers. Default false. */
  hiddenStates?: boolean;
  /**
   * [B,T], 0 for tokens that are not attended to. Default none of them: Stable Diffusion's prompts are encoded with their
   * padding.
   */
  attentionMask?: Tensor;
  /** Leaves out the last layers, up to all of them; the final layer norm stays (diffusers' `clip_skip`). Default 0. */
  skippedLayers?: number;
  /** Adapters that count, each row its own, as in `UNet2DConditionModel.forward`. Default none. */
  adapters?: readonly AdapterWeights[] | undefined;
  signal?: AbortSignal;
}

const FORWARD_OPTIONS = optionNames<CLIPTextForwardOptions>()({
  hiddenStates: true,
  attentionMask: true,
  skippedLayers: true,
  adapters: true,
  signal: true,
});

/**
 * CLIP's text transformer (Radford et al. 2021, https://arxiv.org/abs/2103.00020).
 *
 * @example
 * ```js
 * import { CLIPTextModel, CLIPTokenizer, Tensor } from "instruct-pix2pix";
 *
 * const tokenizer = await CLIPTokenizer.fromPretrained("./model/tokenizer");
 * const encoder = await CLIPTextModel.fromPretrained("./model/text_encoder");
 * const [ids] = tokenizer.encode("make it winter", { padding: "max_length" });
 * const inputIds = await Tensor.from(BigInt64Array.from(ids, BigInt), [1, ids.length]);
 * const { lastHiddenState } = await encoder.forward(inputIds);
 * console.log(lastHiddenState.shape);
 * encoder.dispose();
 * ```
 */
export class CLIPTextModel extends PretrainedModel<CLIPTextConfig> {
  /** @internal */
  static readonly description = description;
  /** @internal */
  static readonly singleFile = singleFile;

  /**
   * Loads a folder with `config.json` and `model*.safetensors`, with or without the "text_model." prefix of tensor names.
   *
   * @throws as {@link UNet2DConditionModel.fromPretrained}
   */
  static async fromPretrained(folder: string, options: ModelOptions = {}): Promise<CLIPTextModel> {
    return new CLIPTextModel(await loadPretrained(description, folder, options));
  }

  /**
   * Loads the text encoder of a single safetensors file in the original layout of Stable Diffusion 1 or 2. Its
   * configuration is inferred from the names and shapes of the tensors, unless the option `config` names one.
   *
   * @param file path of the file
   * @throws as {@link CLIPTextModel.fromPretrained}; `ERR_STATE_DICT` for a file of another layout, saying what it is
   */
  static async fromSingleFile(file: string, options: SingleFileModelOptions = {}): Promise<CLIPTextModel> {
    return new CLIPTextModel(await loadFromSingleFile(description, singleFile, file, options));
  }

  /**
   * Creates a model with random float32 weights, to train from scratch.
   *
   * @param config as in `config.json`; missing keys get the file format's defaults
   * @throws `ERR_CONFIG`
   */
  static async fromConfig(config: Partial<CLIPTextConfig>, options: NewModelOptions = {}): Promise<CLIPTextModel> {
    return new CLIPTextModel(await createModel(description, config, options));
  }

  /** @param inputIds int64 [B,T], T ≤ `config.max_position_embeddings` */
  async forward(inputIds: Tensor, options?: CLIPTextForwardOptions): Promise<CLIPTextOutput> {
    const {
      hiddenStates: wanted = false,
      attentionMask,
      skippedLayers = 0,
      adapters,
      signal,
    } = checkOptions(options, FORWARD_OPTIONS);
    const weights = adapterWeights(adapters);
    const mask = attentionMask === undefined ? null : handleOf(attentionMask, "attentionMask");
    const { lastHiddenState, pooled, textEmbeds, hiddenStates } = await this.computing(() =>
      cancellable(signal, (token) =>
        native().clipTextForward(
          ...([this.handle, handleOf(inputIds, "inputIds"), wanted, mask, skippedLayers, weights, token] as const),
        ),
      ),
    );
    const output: CLIPTextOutput & { textEmbeds?: Tensor } = {
      lastHiddenState: new Tensor(lastHiddenState),
      pooled: new Tensor(pooled),
    };
    if (textEmbeds) output.textEmbeds = new Tensor(textEmbeds);
    if (hiddenStates) output.hiddenStates = listOfThisRealm(hiddenStates).map((handle) => new Tensor(handle));
    return output;
  }
}

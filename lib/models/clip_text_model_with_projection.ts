import type { Tensor } from "../core/tensor.js";
import { loadFromSingleFile, type SingleFileModelOptions, type SingleFileTables } from "../single-file/model.js";
import { inferProjectedTextEncoderConfig } from "../single-file/text-encoder-config.js";
import { openClipNames } from "../single-file/text-encoder-names.js";
import {
  type CLIPTextConfig,
  type CLIPTextForwardOptions,
  CLIPTextModel,
  type CLIPTextOutput,
  clipTextDescription,
} from "./clip_text_model.js";
import { createModel, loadPretrained, type ModelOptions, type NewModelOptions } from "./pretrained.js";

const description = clipTextDescription("CLIPTextModelWithProjection");

const singleFile: SingleFileTables<CLIPTextConfig> = {
  component: "text_encoder_2",
  infer: inferProjectedTextEncoderConfig,
  names: (config) => openClipNames(config, true),
};

/** What `CLIPTextModelWithProjection.forward` gives. */
export interface CLIPTextProjectedOutput extends CLIPTextOutput {
  /** [B,projection_dim]: the pooled state projected to the space that texts and images share. */
  textEmbeds: Tensor;
}

/**
 * CLIP's text transformer with its projection (Radford et al. 2021, https://arxiv.org/abs/2103.00020): the second text
 * encoder of SDXL.
 *
 * @example
 * ```js
 * import { CLIPTextModelWithProjection, CLIPTokenizer, Tensor } from "instruct-pix2pix";
 *
 * const tokenizer = await CLIPTokenizer.fromPretrained("./sdxl-base/tokenizer_2");
 * const encoder = await CLIPTextModelWithProjection.fromPretrained("./sdxl-base/text_encoder_2");
 * const [ids] = tokenizer.encode("a lighthouse", { padding: "max_length" });
 * const { textEmbeds } = await encoder.forward(await Tensor.from(BigInt64Array.from(ids, BigInt), [1, ids.length]));
 * console.log(textEmbeds.shape);
 * encoder.dispose();
 * ```
 */
export class CLIPTextModelWithProjection extends CLIPTextModel {
  /** @internal */
  static override readonly description = description;
  /** @internal */
  static override readonly singleFile = singleFile;

  /**
   * Loads a folder with `config.json` and `model*.safetensors`.
   *
   * @throws as {@link UNet2DConditionModel.fromPretrained}
   */
  static override async fromPretrained(
    folder: string,
    options: ModelOptions = {},
  ): Promise<CLIPTextModelWithProjection> {
    return new CLIPTextModelWithProjection(await loadPretrained(description, folder, options));
  }

  /**
   * Loads the second text encoder of a single safetensors file in the original layout of Stable Diffusion XL, or the one of its
   * refiner. Its configuration is inferred from the names and shapes of the tensors, unless the option `config` names one.
   *
   * @param file path of the file
   * @throws as {@link UNet2DConditionModel.fromPretrained}; `ERR_STATE_DICT` for a file without it, saying what it is
   */
  static override async fromSingleFile(
    file: string,
    options: SingleFileModelOptions = {},
  ): Promise<CLIPTextModelWithProjection> {
    return new CLIPTextModelWithProjection(await loadFromSingleFile(description, singleFile, file, options));
  }

  /**
   * Creates a model with random float32 weights, to train from scratch.
   *
   * @param config as in `config.json`; missing keys get the file format's defaults
   * @throws `ERR_CONFIG`
   */
  static override async fromConfig(
    config: Partial<CLIPTextConfig>,
    options: NewModelOptions = {},
  ): Promise<CLIPTextModelWithProjection> {
    return new CLIPTextModelWithProjection(await createModel(description, config, options));
  }

  /** @param inputIds int64 [B,T], T ≤ `config.max_position_embeddings` */
  override async forward(inputIds: Tensor, options?: CLIPTextForwardOptions): Promise<CLIPTextProjectedOutput> {
    return (await super.forward(inputIds, options)) as CLIPTextProjectedOutput;
  }
}

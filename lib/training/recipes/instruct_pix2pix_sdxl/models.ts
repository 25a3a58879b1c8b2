import { type SavedPipeline, savedPipeline } from "../../../components/save.js";
import { encodePenultimate, tokenizePrompts } from "../../../conditioning/prompt.js";
import { encodePromptPair, encodersOf } from "../../../conditioning/prompt-pair.js";
import { Tensor } from "../../../core/tensor.js";
import type { ImageSize } from "../../../images/pixels.js";
import type { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import type { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { CLIPTextModelWithProjection } from "../../../models/clip_text_model_with_projection.js";
import { StableDiffusionXLInstructPix2PixPipeline } from "../../../pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js";
import { dropoutOf } from "../../dropout.js";
import type { TrainOptions } from "../../options.js";
import type { TensorsByModel, TextEncoders, TrainingConditions } from "../../trainer.js";
import type { TextRows } from "../edit/micro-batch.js";
import { type EditCall, EditModels, type LoadedParts } from "../edit/models.js";
import { trainedComponent } from "../edit/save-model.js";
import type { LoadPlace } from "../recipe.js";
import type { XLBaseComponents } from "./base.js";

export type StableDiffusionXLFrozen = {
  readonly vae: AutoencoderKL;
  /** Neither text encoder is among them if they are trained. */
  readonly textEncoder?: CLIPTextModel;
  readonly textEncoder2?: CLIPTextModelWithProjection;
};

type Options = Pick<
  TrainOptions,
  | "compat"
  | "conditioningDropoutProb"
  | "textDropoutProb"
  | "imageDropoutProb"
  | "bothDropoutProb"
  | "cropsCoordsTopLeftH"
  | "cropsCoordsTopLeftW"
  | "resolution"
>;

/** The models of InstructPix2Pix with Stable Diffusion XL. */
export class StableDiffusionXLModels extends EditModels<XLBaseComponents, StableDiffusionXLFrozen> {
  readonly family = "sdxl";
  readonly #options: Options;
  /** [1,6] by the images' size: original size, crop and target size (Podell et al. 2023, section 2.2). */
  readonly #timeIds = new Map<string, Tensor>();

  /** @param textEncoders both, if they are trained */
  constructor(
    parts: LoadedParts<XLBaseComponents, StableDiffusionXLFrozen>,
    options: Options,
    place: LoadPlace,
    textEncoders: TextEncoders,
  ) {
    super(parts, place, textEncoders);
    this.#options = options;
  }

  async encodeText(prompts: readonly string[], signal: AbortSignal | undefined): Promise<TextRows> {
    const texts = await this.#texts();
    if (this.textEncoders.textEncoder) {
      const [inputIds, inputIds2] = encodersOf(texts).map((parts) => tokenizePrompts(prompts, parts));
      return { inputIds: inputIds!, inputIds2: inputIds2! };
    }
    return await encodePromptPair([prompts, prompts], texts, (own, parts) => encodePenultimate(own, parts, { signal }));
  }

  /** The reference leaves dropped instructions their pooled embeddings. */
  async nullText(signal: AbortSignal | undefined): Promise<TextRows> {
    const text = await this.encodeText([""], signal);
    if (!this.#options.compat) return text;
    text.pooled?.dispose();
    return { embeddings: text.embeddings! };
  }

  async conditions(text: TextRows, size: ImageSize | undefined): Promise<TrainingConditions> {
    const { embeddings, pooled, inputIds, inputIds2 } = text;
    const { resolution } = this.#options;
    const timeIds = await this.#timeIdsOf(size ?? { width: resolution, height: resolution });
    return inputIds
      ? { inputIds: [inputIds, inputIds2!], addedConditions: { timeIds } }
      : { embeddings: embeddings!, addedConditions: { textEmbeds: pooled!, timeIds } };
  }

  async #timeIdsOf({ width, height }: ImageSize): Promise<Tensor> {
    const { cropsCoordsTopLeftH: top, cropsCoordsTopLeftW: left } = this.#options;
    const known = this.#timeIds.get(`${width}×${height}`);
    if (known) return known;
    using ids = Tensor.from([height, width, top, left, height, width], [1, 6]);
    const placed = await ids.to({ device: this.device });
    this.#timeIds.set(`${width}×${height}`, placed);
    return placed;
  }

  async checkPrompt(prompt: string): Promise<void> {
    for (const parts of encodersOf(await this.#texts())) tokenizePrompts([prompt], parts).dispose();
  }

  /** As the pairs in training; the reference takes the UNet's own size, whatever the size that is trained on. */
  editSize() {
    const { compat, resolution } = this.#options;
    return compat ? undefined : { width: resolution, height: resolution };
  }

  async editor() {
    const { unet, scheduler } = this;
    const { vae } = await this.frozen.get();
    const pipeline = new StableDiffusionXLInstructPix2PixPipeline({
      ...(await this.#texts()),
      ...{ vae, unet, scheduler, forceZerosForEmptyPrompt: this.#zerosForEmptyPrompt },
    });
    const { cropsCoordsTopLeftH, cropsCoordsTopLeftW, compat } = this.#options;
    const size = {
      ...this.editSize(),
      ...(!compat && { cropsCoordsTopLeft: [cropsCoordsTopLeftH, cropsCoordsTopLeftW] as const }),
    };
    return (call: EditCall) => pipeline.run({ ...call, ...size });
  }

  pipeline(weights: TensorsByModel): SavedPipeline {
    const { description } = StableDiffusionXLInstructPix2PixPipeline;
    const slots = description.components;
    const { source } = this;
    const text = (name: keyof TextEncoders) => {
      const model = this.textEncoders[name];
      return model ? trainedComponent(model, weights[name]) : source.kept(name);
    };
    const components = {
      [slots.vae.folder]: source.kept("vae"),
      [slots.textEncoder.folder]: text("textEncoder"),
      [slots.textEncoder2.folder]: text("textEncoder2"),
      [slots.tokenizer.folder]: source.kept("tokenizer"),
      [slots.tokenizer2.folder]: source.kept("tokenizer2"),
      [slots.unet.folder]: trainedComponent(this.unet, weights.unet),
      [slots.scheduler.folder]: this.savedScheduler(),
    };
    return savedPipeline(description, components, { forceZerosForEmptyPrompt: this.#zerosForEmptyPrompt });
  }

  contents(): Promise<string[]> {
    const texts = this.textEncoders.textEncoder ? [] : (["textEncoder", "textEncoder2"] as const);
    return this.source.contents(["vae", ...texts, "tokenizer", "tokenizer2"]);
  }

  override async dispose(): Promise<void> {
    for (const ids of this.#timeIds.values()) ids.dispose();
    await super.dispose();
  }

  /**
   * Whether zeros stand for an empty prompt in edits. With conditioning dropout the UNet learns the encoded empty prompt; the
   * reference leaves the base model's setting, and with it the guidance of its edits to something that was not trained.
   */
  get #zerosForEmptyPrompt(): boolean {
    const { compat } = this.#options;
    const { text = 0, both = 0 } = dropoutOf(this.#options) ?? {};
    const { forceZerosForEmptyPrompt = true } = this.source.ready;
    return forceZerosForEmptyPrompt && (compat !== undefined || text + both === 0);
  }

  async #texts() {
    const { textEncoder, textEncoder2 } = this.textEncoders.textEncoder ? this.textEncoders : await this.frozen.get();
    const { tokenizer, tokenizer2 } = this.source.ready;
    return {
      ...{ textEncoder: textEncoder!, textEncoder2: textEncoder2! },
      ...{ tokenizer: tokenizer!, tokenizer2: tokenizer2! },
    };
  }
}

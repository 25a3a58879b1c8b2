import type { GuidanceRow } from "../../conditioning/guidance.js";
import { PromptCache } from "../../conditioning/prompt-cache.js";
import type { Scope } from "../../core/scope.js";
import type { Tensor } from "../../core/tensor.js";
import { checkedScheduler } from "../../schedulers/check.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { loadSingleFile, type SingleFileLoadOptions } from "../../single-file/load.js";
import { checkPrompts, checkRun, checkSampling, type PromptCall, type RunCall, type SamplingCall } from "../call.js";
import { checkPrediction, checkTextWidth, checkVocabulary } from "../compatibility.js";
import type { StableDiffusionComponents } from "../components.js";
import { DiffusionPipeline, type PipelineClass } from "../diffusion_pipeline.js";
import { checkGivenTensors, FiniteChecks } from "../finite.js";
import { GuidedSteps } from "../guided-steps.js";
import { type ImageInput, type PipelineImage, prepareImage } from "../image-input.js";
import type { Placement } from "../latents.js";
import type { OutputType, PromptOptions, RunOptions, SamplingOptions } from "../run-options.js";
import { encodeText, type TextEmbeddings } from "../text.js";
import { type Outdated, updatedScheduler, updateSampleSize } from "./outdated.js";

/** A validated call of a Stable Diffusion pipeline, and the pipeline's components at its start. */
export type StableDiffusionCall = Omit<StableDiffusionComponents, "scheduler"> &
  Placement &
  PromptCall &
  SamplingCall &
  RunCall & {
    /** The rows of guidance that are computed. */
    rows: readonly GuidanceRow[];
    /** All rows in diffusers' order. */
    layout: readonly Pick<GuidanceRow, "text" | "image">[];
    /** Milder guidance than the call's, in words; undefined without guidance. */
    milderGuidance: string | undefined;
    guidanceRescale?: number;
    clipSkip?: number | undefined;
  };

/** What Stable Diffusion pipelines share: components, prompts, and guided steps. */
export abstract class StableDiffusionBase extends DiffusionPipeline implements StableDiffusionComponents {
  vae: StableDiffusionComponents["vae"];
  textEncoder: StableDiffusionComponents["textEncoder"];
  tokenizer: StableDiffusionComponents["tokenizer"];
  unet: StableDiffusionComponents["unet"];
  #scheduler!: Scheduler;
  /** @internal What is corrected of components that the pipeline is made of, but not of those set later. */
  static readonly outdated: Outdated = {};
  readonly #prompts = new PromptCache();

  constructor(components: StableDiffusionComponents) {
    super();
    const { outdated } = new.target as unknown as typeof StableDiffusionBase;
    this.vae = components.vae;
    this.textEncoder = components.textEncoder;
    this.tokenizer = components.tokenizer;
    this.unet = components.unet;
    this.scheduler = updatedScheduler(components.scheduler, outdated);
    updateSampleSize(this.unet, outdated);
    this.hold();
  }

  /**
   * Loads a safetensors file in the original layout of Stable Diffusion 1 or 2, which holds the whole model. Components given
   * as options are used instead of the file's.
   *
   * @param file path of the file
   * @throws as `fromPretrained`; `ERR_STATE_DICT` for a file of another layout, and `ERR_CONFIG` for a model of another
   *   pipeline, saying what it is
   */
  static async fromSingleFile<Pipeline extends StableDiffusionBase>(
    this: PipelineClass<StableDiffusionComponents, Pipeline>,
    file: string,
    options?: SingleFileLoadOptions<StableDiffusionComponents>,
  ): Promise<Pipeline> {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that fromSingleFile was called on
    return new this(await loadSingleFile(this.description, file, options));
  }

  /** Cloned for every run. */
  get scheduler(): Scheduler {
    return this.#scheduler;
  }

  /** @throws `ERR_INVALID_ARGUMENT` for what is no scheduler, such as the name of one */
  set scheduler(scheduler: Scheduler) {
    this.#scheduler = checkedScheduler(scheduler);
  }

  protected get models() {
    return [this.textEncoder, this.vae, this.unet];
  }

  protected override free(): void {
    super.free();
    this.#prompts.clear();
  }

  /** Validates what all these pipelines' options have in common, and the components for them. */
  protected checkCommon(
    options: PromptOptions & SamplingOptions & RunOptions<OutputType>,
    device: string,
    guidance: Pick<StableDiffusionCall, "rows" | "layout" | "milderGuidance">,
  ): StableDiffusionCall {
    const { vae, textEncoder, tokenizer, unet } = this;
    const prompts = checkPrompts(options, unet.config.cross_attention_dim);
    const call = {
      ...{ vae, textEncoder, tokenizer, unet, device, dtype: unet.dtype },
      ...prompts,
      ...checkSampling(options, prompts.batch),
      ...checkRun(options),
      ...guidance,
    };
    checkPrediction(unet.config, vae.config, this.scheduler);
    const negativeText = !options.negativePromptEmbeds && call.rows.some(({ text }) => !text);
    if (call.prompts || negativeText) {
      checkTextWidth(unet.config, textEncoder.config);
      checkVocabulary(tokenizer, textEncoder.config);
    }
    return call;
  }

  /** The run's own scheduler, its checks, and the embeddings of its prompts. */
  protected async begin(call: StableDiffusionCall, scope: Scope) {
    const { latents, promptEmbeds, negativePromptEmbeds, allowNonFinite } = call;
    const scheduler = scope.add(this.scheduler.clone());
    const finite = new FiniteChecks(call);
    await checkGivenTensors({ latents, promptEmbeds, negativePromptEmbeds }, allowNonFinite);
    return { scheduler, finite };
  }

  protected encodeText(call: StableDiffusionCall, finite: FiniteChecks): Promise<TextEmbeddings> {
    const guided = call.rows.some(({ text }) => !text);
    return encodeText(call, { ...call, cache: this.#prompts, finite, guided });
  }

  /** A call's pictures for the autoencoder, or latents that need no encoding. */
  protected async prepareImage(
    image: PipelineImage,
    { vae, allowNonFinite, signal }: StableDiffusionCall,
    size?: { height: number; width: number },
  ): Promise<{ image: ImageInput } & Disposable> {
    const { latent_channels: latentChannels } = vae.config;
    const options = { factor: vae.scaleFactor, latentChannels, allowNonFinite, size };
    const prepared = await prepareImage(image, { ...options, ...(signal && { signal }) });
    const tensor = "latents" in prepared ? prepared.latents : prepared.pixels;
    return { image: prepared, [Symbol.dispose]: () => tensor.dispose() };
  }

  /**
   * The guided predictions of a run.
   *
   * @param channels see {@link GuidedSteps}
   */
  protected guide(
    call: StableDiffusionCall,
    text: TextEmbeddings,
    timesteps: readonly number[],
    channels: { channels?: Tensor; showsChannels?: boolean } = {},
  ): Promise<GuidedSteps> {
    return GuidedSteps.create({ ...call, text, timesteps, rescale: call.guidanceRescale, ...channels });
  }
}

import { PromptCache } from "../../conditioning/prompt-cache.js";
import type { Scope } from "../../core/scope.js";
import type { AutoencoderKL } from "../../models/autoencoder_kl.js";
import { loadSingleFile, type SingleFileLoadOptions } from "../../single-file/load.js";
import { checkPrompts, type PromptCall } from "../call.js";
import { checkTextWidth, checkVocabulary } from "../compatibility.js";
import type { StableDiffusionComponents } from "../components.js";
import type { PipelineClass, PipelineModel } from "../diffusion_pipeline.js";
import type { FiniteChecks } from "../finite.js";
import { type GuidanceCall, type LatentCall, LatentPipeline } from "../latent_pipeline.js";
import { type LatentScale, scaleByFactor } from "../latent-scale.js";
import type { OutputType, PromptOptions, RunOptions, SamplingOptions } from "../run-options.js";
import { type SafetyCheck, safetyCheckOf } from "../safety.js";
import { checkWeighting, encodeText, type TextEmbeddings } from "../text.js";
import { type Outdated, updatedScheduler, updateSampleSize } from "./outdated.js";

/** A validated call of a Stable Diffusion pipeline, and the pipeline's components at its start. */
export type StableDiffusionCall = LatentCall &
  PromptCall &
  Pick<StableDiffusionComponents, "textEncoder" | "tokenizer"> & {
    clipSkip?: number | undefined;
    safety: SafetyCheck | undefined;
  };

/** What Stable Diffusion pipelines share: components, prompts, and guided steps. */
export abstract class StableDiffusionBase extends LatentPipeline implements StableDiffusionComponents {
  vae: StableDiffusionComponents["vae"];
  textEncoder: StableDiffusionComponents["textEncoder"];
  tokenizer: StableDiffusionComponents["tokenizer"];
  unet: StableDiffusionComponents["unet"];
  /** What looks at the results; null: they are not looked at. */
  safetyChecker: NonNullable<StableDiffusionComponents["safetyChecker"]> | null;
  /** Prepares the results for the safety checker. */
  featureExtractor: NonNullable<StableDiffusionComponents["featureExtractor"]> | null;
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
    this.safetyChecker = components.safetyChecker ?? null;
    this.featureExtractor = components.featureExtractor ?? null;
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
  static async fromSingleFile<Components extends StableDiffusionComponents, Pipeline extends StableDiffusionBase>(
    this: PipelineClass<Components, Pipeline>,
    file: string,
    options?: SingleFileLoadOptions<Components>,
  ): Promise<Pipeline> {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that fromSingleFile was called on
    return new this(await loadSingleFile(this.description, file, options));
  }

  protected get models(): readonly PipelineModel[] {
    const { textEncoder, vae, unet, safetyChecker } = this;
    return [...(safetyChecker ? [safetyChecker] : []), textEncoder, vae, unet];
  }

  protected override free(): void {
    super.free();
    this.#prompts.clear();
  }

  protected scaleOf(vae: AutoencoderKL): LatentScale {
    return scaleByFactor(vae.config);
  }

  /** Validates what all these pipelines' options have in common, and the components for them. */
  protected checkCommon(
    options: PromptOptions & SamplingOptions & RunOptions<OutputType>,
    device: string,
    guidance: GuidanceCall & { clipSkip?: number | undefined },
  ): StableDiffusionCall {
    const { textEncoder, tokenizer, unet } = this;
    const prompts = checkPrompts(options, unet.config.cross_attention_dim);
    checkWeighting(prompts, guidance);
    const latents = this.checkLatents(options, { ...guidance, device, batch: prompts.batch });
    const safety = safetyCheckOf(this);
    const call = { textEncoder, tokenizer, safety, clipSkip: guidance.clipSkip, ...prompts, ...latents };
    const negativeText = !options.negativePromptEmbeds && call.rows.some(({ text }) => !text);
    if (call.prompts || negativeText) {
      checkTextWidth(unet.config, [textEncoder.config]);
      checkVocabulary(tokenizer, textEncoder.config);
    }
    return call;
  }

  /** The run's own scheduler, and its checks. */
  protected begin(call: StableDiffusionCall, scope: Scope) {
    const { promptEmbeds, negativePromptEmbeds, textEncoder } = call;
    return this.beginWith(call, scope, {
      textEncoders: [textEncoder],
      given: { promptEmbeds, negativePromptEmbeds },
    });
  }

  protected encodeText(call: StableDiffusionCall, finite: FiniteChecks): Promise<TextEmbeddings> {
    const guided = call.rows.some(({ text }) => !text);
    return encodeText(call, { ...call, adapterWeights: call.loras.textEncoder, cache: this.#prompts, finite, guided });
  }
}

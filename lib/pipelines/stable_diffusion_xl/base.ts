import { PromptCache } from "../../conditioning/prompt-cache.js";
import { encodersOf } from "../../conditioning/prompt-pair.js";
import type { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { AutoencoderKL } from "../../models/autoencoder_kl.js";
import { loadSingleFile, type SingleFileComponents, type SingleFileLoadOptions } from "../../single-file/load.js";
import { sizeNumbers } from "../compatibility.js";
import type { PipelineClass, PipelineModel } from "../diffusion_pipeline.js";
import type { FiniteChecks } from "../finite.js";
import type { GuidedStepsOptions } from "../guided-steps.js";
import { type GuidanceCall, type LatentCall, LatentPipeline } from "../latent_pipeline.js";
import { type LatentScale, scaleByStatistics } from "../latent-scale.js";
import type { OutputType, RunOptions, SamplingOptions } from "../run-options.js";
import { checkWeighting, TextEmbeddings } from "../text.js";
import { checkTexts, type StableDiffusionXLComponents } from "./components.js";
import type { PromptPairOptions } from "./options.js";
import { checkPromptPair, encodeTextPair, type PairConditions, type PromptPairCall } from "./prompts.js";

/** A validated call of a Stable Diffusion XL pipeline, and the pipeline's components at its start. */
export type StableDiffusionXLCall = LatentCall &
  PromptPairCall &
  Pick<StableDiffusionXLComponents, "textEncoder" | "textEncoder2" | "tokenizer" | "tokenizer2"> & {
    clipSkip?: number | undefined;
    forceZeros: boolean;
  };

/** Sizes and crops, or aesthetic scores, of the prompts' rows and of the negative prompts'. */
export interface TimeIds {
  positive: readonly number[];
  negative: readonly number[];
}

/** What Stable Diffusion XL pipelines share: components, prompts for two text encoders, sizes, and guided steps. */
export abstract class StableDiffusionXLBase extends LatentPipeline {
  vae: StableDiffusionXLComponents["vae"];
  textEncoder: StableDiffusionXLComponents["textEncoder"];
  textEncoder2: StableDiffusionXLComponents["textEncoder2"];
  tokenizer: StableDiffusionXLComponents["tokenizer"];
  tokenizer2: StableDiffusionXLComponents["tokenizer2"];
  unet: StableDiffusionXLComponents["unet"];
  /** Whether zeros are the embeddings of a negative prompt that is not given; else it is the empty prompt. */
  readonly forceZerosForEmptyPrompt: boolean;
  /** Whether diffusers marks images of this model invisibly; kept for saving, without effect here. */
  readonly addWatermarker: boolean | null;
  readonly #caches = [new PromptCache(), new PromptCache()];

  constructor(components: StableDiffusionXLComponents) {
    super();
    this.vae = components.vae;
    this.textEncoder = components.textEncoder ?? null;
    this.textEncoder2 = components.textEncoder2;
    this.tokenizer = components.tokenizer ?? null;
    this.tokenizer2 = components.tokenizer2;
    this.unet = components.unet;
    this.scheduler = components.scheduler;
    this.forceZerosForEmptyPrompt = this.settingOf(components, "forceZerosForEmptyPrompt");
    this.addWatermarker = this.settingOf(components, "addWatermarker");
    this.hold();
  }

  /**
   * Loads a safetensors file in the original layout of Stable Diffusion XL, its refiner, or CosXL, which holds the whole model.
   * Components given as options are used instead of the file's.
   *
   * @param file path of the file
   * @throws as `fromPretrained`; `ERR_STATE_DICT` for a file of another layout, and `ERR_CONFIG` for a model of another
   *   pipeline, saying what it is
   */
  static async fromSingleFile<Components extends SingleFileComponents, Pipeline extends StableDiffusionXLBase>(
    this: PipelineClass<Components, Pipeline>,
    file: string,
    options?: SingleFileLoadOptions<Components>,
  ): Promise<Pipeline> {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that fromSingleFile was called on
    return new this(await loadSingleFile(this.description, file, options));
  }

  protected get models(): readonly PipelineModel[] {
    return [...(this.textEncoder ? [this.textEncoder] : []), this.textEncoder2, this.vae, this.unet];
  }

  protected override free(): void {
    super.free();
    for (const cache of this.#caches) cache.clear();
  }

  protected scaleOf(vae: AutoencoderKL): LatentScale {
    return scaleByStatistics(vae.config);
  }

  /** The layers that `clipSkip` can leave out, beside the last one. */
  protected get skippableLayers(): number {
    const layers = encodersOf(this).map(({ textEncoder }) => textEncoder.config.num_hidden_layers);
    return Math.min(...layers) - 1;
  }

  /** Validates what all these pipelines' options have in common, and the components for them. */
  protected checkCommon(
    options: PromptPairOptions & SamplingOptions & RunOptions<OutputType>,
    device: string,
    guidance: GuidanceCall & { clipSkip?: number | undefined },
    requiresAestheticsScore = false,
  ): StableDiffusionXLCall {
    const { textEncoder, textEncoder2, tokenizer, tokenizer2, unet } = this;
    const configs = { unet: unet.config, textEncoder: textEncoder?.config ?? null, textEncoder2: textEncoder2.config };
    checkTexts({ ...configs, tokenizer, tokenizer2 }, requiresAestheticsScore);
    const numbers = sizeNumbers(requiresAestheticsScore) * unet.config.addition_time_embed_dim!;
    const pooledWidth = unet.config.projection_class_embeddings_input_dim! - numbers;
    const prompts = checkPromptPair(options, unet.config.cross_attention_dim, pooledWidth);
    checkWeighting(prompts, guidance);
    const { clipSkip, ...rest } = guidance;
    const latents = this.checkLatents(options, { ...rest, device, batch: prompts.batch });
    const forceZeros = this.forceZerosForEmptyPrompt;
    return { textEncoder, textEncoder2, tokenizer, tokenizer2, clipSkip, forceZeros, ...prompts, ...latents };
  }

  /** The run's own scheduler, and its checks. */
  protected begin(call: StableDiffusionXLCall, scope: Scope) {
    const { promptEmbeds, negativePromptEmbeds, pooledPromptEmbeds, negativePooledPromptEmbeds } = call;
    return this.beginWith(call, scope, {
      textEncoders: encodersOf(call).map(({ textEncoder }) => textEncoder),
      given: { promptEmbeds, negativePromptEmbeds, pooledPromptEmbeds, negativePooledPromptEmbeds },
    });
  }

  protected encodeText(call: StableDiffusionXLCall, finite: FiniteChecks, scope: Scope): Promise<PairConditions> {
    const guided = call.rows.some(({ text }) => !text);
    return encodeTextPair(call, { ...call, caches: this.#caches, finite, guided }, scope);
  }

  /**
   * The guided predictions of a run.
   *
   * @param ids in the type that the UNet computes in, as in diffusers
   */
  protected async guideWith(
    call: StableDiffusionXLCall,
    { text, pooled }: PairConditions,
    ids: TimeIds,
    steps: Pick<GuidedStepsOptions, "timesteps" | "channels" | "showsChannels" | "controlledSteps">,
    scope: Scope,
  ) {
    const { count, device, dtype } = call;
    const rows = async (numbers: readonly number[]) => {
      using one = Tensor.from(numbers, [1, numbers.length]);
      using placed = await one.to({ device, dtype });
      return await placed.repeat([count, 1]);
    };
    const timeIds = scope.add(new TextEmbeddings(await rows(ids.positive), await rows(ids.negative)));
    return scope.add(await this.guide(call, { ...steps, text, added: { textEmbeds: pooled, timeIds } }));
  }
}

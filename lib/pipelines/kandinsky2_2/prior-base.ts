import type { CLIPImageProcessor } from "../../conditioning/clip_image_processor.js";
import { combineRows, type GuidanceRow, textGuidanceRows } from "../../conditioning/guidance.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import { type ImageSource, loadImage, type RgbImage } from "../../images/index.js";
import type { CLIPTextModelWithProjection } from "../../models/clip_text_model_with_projection.js";
import type { CLIPVisionModelWithProjection } from "../../models/clip_vision_model_with_projection.js";
import type { PriorTransformer } from "../../models/prior_transformer.js";
import { checkedScheduler } from "../../schedulers/check.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../../tokenizer/clip_tokenizer.js";
import { checkRun, checkSampling, type RunCall, type SamplingCall } from "../call.js";
import { denoise } from "../denoise.js";
import { DiffusionPipeline } from "../diffusion_pipeline.js";
import { checkGivenTensors, FiniteChecks } from "../finite.js";
import { checkCount, checkFinite } from "../options.js";
import type { RunOptions, SamplingOptions } from "../run-options.js";
import type { CallbackTensors } from "../step-callback.js";
import type { KandinskyV22PriorComponents } from "./components.js";
import { checkPriorTexts, encodePriorTexts, type PriorConditions, type PriorTexts } from "./prior-text.js";

/** Options of all priors. */
export interface PriorOptions
  extends Pick<RunOptions, "allowNonFinite" | "signal" | "onStep">,
    Pick<SamplingOptions, "numImagesPerPrompt" | "generator" | "seed"> {
  /** The prompt, or several. */
  prompt: string | readonly string[];
  /**
   * What to avoid, one or one for each prompt; its embedding is predicted as well and becomes the second result. Default none:
   * the second result is then what the image encoder makes of zeros.
   */
  negativePrompt?: string | readonly string[] | null | undefined;
  /** Denoising steps, 2..num_train_timesteps. Default 25. */
  numInferenceSteps?: number | undefined;
  /** Guidance by the text; on above 1. Default 4. */
  guidanceScale?: number | undefined;
}

/** The names of {@link PriorOptions}. */
export const PRIOR_OPTIONS = optionNames<PriorOptions>()({
  prompt: true,
  negativePrompt: true,
  numInferenceSteps: true,
  guidanceScale: true,
  numImagesPerPrompt: true,
  generator: true,
  seed: true,
  allowNonFinite: true,
  signal: true,
  onStep: true,
});

/** What a prior predicts, for a decoder. */
export interface PriorResult {
  /** Image embeddings [B·n,E]. */
  imageEmbeds: Tensor;
  /** Embeddings of what to avoid, [B·n,E]. */
  negativeImageEmbeds: Tensor;
  /** The seed of the noise, if the run made its own generator. */
  seed?: number | bigint;
}

export type PriorCall = RunCall &
  SamplingCall &
  PriorTexts &
  KandinskyV22PriorComponents & {
    numInferenceSteps: number;
    rows: readonly GuidanceRow[];
    milderGuidance: string | undefined;
  };

/** What Kandinsky 2.2's priors share: components, texts, and the steps. */
export abstract class KandinskyV22PriorBase extends DiffusionPipeline implements KandinskyV22PriorComponents {
  prior: PriorTransformer;
  imageEncoder: CLIPVisionModelWithProjection;
  textEncoder: CLIPTextModelWithProjection;
  tokenizer: CLIPTokenizer;
  imageProcessor: CLIPImageProcessor;
  #scheduler!: Scheduler;

  constructor(components: KandinskyV22PriorComponents) {
    super();
    this.prior = components.prior;
    this.imageEncoder = components.imageEncoder;
    this.textEncoder = components.textEncoder;
    this.tokenizer = components.tokenizer;
    this.imageProcessor = components.imageProcessor;
    this.scheduler = components.scheduler;
    this.hold();
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
    return [this.textEncoder, this.imageEncoder, this.prior];
  }

  protected checkPrior(options: PriorOptions & { latents?: Tensor | undefined }): PriorCall {
    const { prior, imageEncoder, textEncoder, tokenizer, scheduler, imageProcessor } = this;
    const texts = checkPriorTexts(options.prompt, options.negativePrompt);
    const guidanceScale = checkFinite("guidanceScale", options.guidanceScale ?? 4);
    const rows = textGuidanceRows(guidanceScale);
    return {
      ...{ prior, imageEncoder, textEncoder, tokenizer, scheduler, imageProcessor },
      ...texts,
      ...checkRun({ ...options, outputType: "tensor" }),
      ...checkSampling(options, texts.texts.length),
      numInferenceSteps: checkCount("numInferenceSteps", options.numInferenceSteps ?? 25),
      rows,
      milderGuidance: rows.length > 1 ? "a guidanceScale nearer to 1" : undefined,
    };
  }

  /**
   * Predicts a call's embeddings.
   *
   * @param start the scheduler's steps are set by it; returns the timesteps to visit and the first latents [B·n,E]
   */
  protected async predictEmbeddings(
    call: PriorCall,
    given: Record<string, Tensor | undefined>,
    start: (scheduler: Scheduler) => Promise<{ timesteps: readonly number[]; latents: Tensor }>,
  ): Promise<PriorResult> {
    const { prior, rows, numImagesPerPrompt: times, signal } = call;
    using scope = new Scope();
    const scheduler = scope.add(call.scheduler.clone());
    await checkGivenTensors(given, call.allowNonFinite);
    const finite = new FiniteChecks({
      ...call,
      ...{ textEncoders: [call.textEncoder], vae: call.imageEncoder, unet: prior, denoiser: "the prior" },
    });
    const guided = rows.length > 1;
    const text = await encodePriorTexts(call, call, { guided, times, scope, signal });
    await finite.textEmbeddings(text.states);
    const { timesteps, latents } = await start(scheduler);
    const denoised = scope.add(
      await denoise({
        ...call,
        ...{ scheduler, timesteps, latents, finite, callbackTensors: seen(text) },
        stepOptions: (step) => ({ prevTimestep: timesteps[step + 1] }),
        predict: async ({ latents: noisy, timestep }) => {
          using repeated = await noisy.repeat([rows.length, 1]);
          using predicted = await prior.forward(repeated, timestep, text.embeds, {
            encoderHiddenStates: text.states,
            attentionMask: text.mask,
            ...(signal && { signal }),
          });
          return await combineRows(predicted, rows);
        },
      }),
    );
    const embeddings = scope.add(await prior.postProcessLatents(denoised));
    return { ...(await this.#withNegative(embeddings, call)), ...(call.seed !== undefined && { seed: call.seed }) };
  }

  async #withNegative(
    embeddings: Tensor,
    { negative, imageEncoder, count }: PriorCall,
  ): Promise<Pick<PriorResult, "imageEmbeds" | "negativeImageEmbeds">> {
    if (negative) {
      const imageEmbeds = await embeddings.slice(0, 0, count / 2);
      return { imageEmbeds, negativeImageEmbeds: await embeddings.slice(0, count / 2, count) };
    }
    using scope = new Scope();
    const { image_size: size, num_channels: channels } = imageEncoder.config;
    const zeros = scope.add(Tensor.from(new Float32Array(channels * size * size), [1, channels, size, size]));
    const { lastHiddenState, pooled, imageEmbeds } = await imageEncoder.forward(zeros);
    scope.add(lastHiddenState);
    scope.add(pooled);
    scope.add(imageEmbeds);
    return { imageEmbeds: await embeddings.clone(), negativeImageEmbeds: await imageEmbeds.repeat([count, 1]) };
  }

  /** The image encoder's input [B,C,H,W]. Alpha is dropped, as by diffusers' `load_image`. */
  protected async preprocess(images: readonly ImageSource[], signal: AbortSignal | undefined): Promise<Tensor> {
    const options = signal ? { signal } : {};
    const loaded: RgbImage[] = [];
    for (const image of images) loaded.push(await loadImage(image, options));
    return await this.imageProcessor.preprocess(loaded, options);
  }

  /** The image encoder's embeddings [B,E] of its input [B,C,H,W]. */
  protected async encodePixels(pixels: Tensor, signal: AbortSignal | undefined): Promise<Tensor> {
    const output = await this.imageEncoder.forward(pixels, { ...(signal && { signal }) });
    output.lastHiddenState.dispose();
    output.pooled.dispose();
    return output.imageEmbeds;
  }
}

/** The step callback sees the text's embeddings, and may replace them. */
function seen(text: PriorConditions): CallbackTensors {
  return {
    read: async () => ({ promptEmbeds: text.embeds }),
    replace: async ({ promptEmbeds }) => {
      if (promptEmbeds) text.embeds = promptEmbeds;
    },
  };
}

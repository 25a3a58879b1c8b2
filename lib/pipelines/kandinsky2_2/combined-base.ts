import type { ComponentSlot, PipelineConfigs, PipelineDescription } from "../../components/description.js";
import { componentNames } from "../../components/description.js";
import { checkNames, type LoadOptions, loadComponents } from "../../components/load.js";
import { readPipelineClass } from "../../components/pipeline-class.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import type { Tensor } from "../../core/tensor.js";
import { checkSampling } from "../call.js";
import { DiffusionPipeline } from "../diffusion_pipeline.js";
import type { ImagesResult, OutputType, RunOptions } from "../run-options.js";
import type { KandinskyV22Components, KandinskyV22PriorComponents } from "./components.js";
import { kandinskyDecoder, kandinskyPrior } from "./components.js";
import { findPrior } from "./connected-prior.js";
import { KandinskyV22PriorPipeline } from "./kandinsky2_2_prior.js";
import { DECODER_OPTIONS, type KandinskyV22DecoderOptions } from "./options.js";
import type { PriorOptions } from "./prior-base.js";
import { checkPriorTexts } from "./prior-text.js";

/** The components of a decoder, and those of its prior with `prior` before their names. */
export type KandinskyV22CombinedComponents = KandinskyV22Components & {
  [K in keyof KandinskyV22PriorComponents as `prior${Capitalize<K>}`]: KandinskyV22PriorComponents[K];
};

/**
 * Options of the pipelines that run prior and decoder.
 *
 * @typeParam T the kind of result
 */
export interface CombinedOptions<T extends OutputType = "image">
  extends Omit<KandinskyV22DecoderOptions<T>, "imageEmbeds" | "negativeImageEmbeds"> {
  /** The prompt, or several. */
  prompt: string | readonly string[];
  /** What to avoid, one or one for each prompt. Default nothing. */
  negativePrompt?: string | readonly string[] | null | undefined;
  /** Guidance of the prior by the text. Default 4. */
  priorGuidanceScale?: number | undefined;
  /** Steps of the prior. Default 25. */
  priorNumInferenceSteps?: number | undefined;
  /** Initial noise of the prior instead of a random draw: [B·n,E], with a negative prompt [2·B·n,E]. */
  latents?: Tensor | undefined;
  /** Called and awaited after every step of the prior. */
  priorOnStep?: PriorOptions["onStep"];
}

const { imageEmbeds: _imageEmbeds, negativeImageEmbeds: _negativeImageEmbeds, ...OF_DECODER } = DECODER_OPTIONS;

/** The names of {@link CombinedOptions}. */
export const COMBINED_OPTIONS = optionNames<CombinedOptions<OutputType>>()({
  ...OF_DECODER,
  prompt: true,
  negativePrompt: true,
  priorGuidanceScale: true,
  priorNumInferenceSteps: true,
  latents: true,
  priorOnStep: true,
});

const PRIOR = kandinskyPrior("KandinskyV22PriorPipeline");

/** A prior's component among a combined pipeline's. */
function combinedName(name: string): string {
  return `prior${name[0]!.toUpperCase()}${name.slice(1)}`;
}

/** The prior's components, with their names here. */
function prefixed<T>(parts: Readonly<Record<string, T>>, change: (part: T) => T = (part) => part): Record<string, T> {
  return Object.fromEntries(Object.entries(parts).map(([name, part]) => [combinedName(name), change(part)]));
}

const ofPrior = prefixed(PRIOR.components as Record<string, ComponentSlot>, (slot) => ({
  ...slot,
  folder: `prior_${slot.folder}`,
}));

/** @param className in diffusers */
export function kandinskyCombined(
  className: string,
  options: { inpaints?: boolean } = {},
): PipelineDescription<KandinskyV22CombinedComponents> {
  const decoder = kandinskyDecoder(className, options);
  const description: PipelineDescription<KandinskyV22CombinedComponents> = {
    className,
    components: {
      ...decoder.components,
      ...ofPrior,
    } as PipelineDescription<KandinskyV22CombinedComponents>["components"],
    check(configs, index) {
      decoder.check?.(configs, index);
      const { priorPrior: prior, priorImageEncoder: imageEncoder, priorTextEncoder: textEncoder } = configs;
      const { priorTokenizer: tokenizer, priorScheduler: scheduler, priorImageProcessor: imageProcessor } = configs;
      PRIOR.check?.({ prior, imageEncoder, textEncoder, tokenizer, scheduler, imageProcessor }, index);
      checkPriorWidth(prior, configs.unet);
    },
    load: (pathOrId, given) => loadBoth(description, decoder, pathOrId, given),
  };
  return description;
}

/** The configurations of a prior's components. */
export type CheckedPrior = PipelineConfigs<KandinskyV22PriorComponents>;

/** @throws `ERR_CONFIG` for a prior whose embeddings a UNet does not take */
export function checkPriorWidth(
  { clip_embed_dim, embedding_dim }: CheckedPrior["prior"],
  { encoder_hid_dim }: PipelineConfigs<KandinskyV22Components>["unet"],
): void {
  const width = clip_embed_dim ?? embedding_dim;
  if (width !== encoder_hid_dim)
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `the prior predicts embeddings of ${width} features, but the UNet takes ${encoder_hid_dim}`,
    );
}

/** A pipeline of a decoder's components and a prior's, which it shares with them. */
export function joinPrior<P>(
  pipelineClass: new (components: KandinskyV22CombinedComponents) => P,
  decoder: DiffusionPipeline,
  prior: DiffusionPipeline,
): P {
  const parts = { ...decoder.components, ...prefixed(prior.components) };
  return new pipelineClass(parts as unknown as KandinskyV22CombinedComponents);
}

/** Loads a folder with both, or a decoder and the prior that its model card names. */
async function loadBoth(
  description: PipelineDescription<KandinskyV22CombinedComponents>,
  decoder: PipelineDescription<KandinskyV22Components>,
  pathOrId: string,
  options: LoadOptions<KandinskyV22CombinedComponents> = {},
): Promise<KandinskyV22CombinedComponents> {
  checkNames(componentNames(description), options);
  if (/Combined/.test(await readPipelineClass(pathOrId, options)))
    return await loadComponents({ ...description, load: undefined }, pathOrId, options);
  const ofDecoder: Record<string, unknown> = {};
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    const own = Object.keys(PRIOR.components).find((part) => combinedName(part) === name);
    if (own) given[own] = value;
    else ofDecoder[name] = value;
  }
  const { unet: _unet, movq: _movq, scheduler: _scheduler, quantization: _quantization, ...shared } = ofDecoder;
  const priorAt = await findPrior(pathOrId, options);
  const { revision: _revision, ...ofPriorOptions } = shared;
  const prior = await loadComponents(PRIOR, priorAt, { ...ofPriorOptions, ...given });
  try {
    const parts = await loadComponents(decoder, pathOrId, ofDecoder);
    return { ...parts, ...prefixed(prior as unknown as Record<string, unknown>) } as KandinskyV22CombinedComponents;
  } catch (error) {
    for (const [name, part] of Object.entries(prior)) if (!(name in given)) part[Symbol.dispose]?.();
    throw error;
  }
}

/** What the pipelines that run prior and decoder share. */
export abstract class KandinskyV22CombinedBase extends DiffusionPipeline {
  unet: KandinskyV22CombinedComponents["unet"];
  movq: KandinskyV22CombinedComponents["movq"];
  /** Cloned for every run. */
  scheduler: KandinskyV22CombinedComponents["scheduler"];
  priorPrior: KandinskyV22CombinedComponents["priorPrior"];
  priorImageEncoder: KandinskyV22CombinedComponents["priorImageEncoder"];
  priorTextEncoder: KandinskyV22CombinedComponents["priorTextEncoder"];
  priorTokenizer: KandinskyV22CombinedComponents["priorTokenizer"];
  /** Cloned for every run. */
  priorScheduler: KandinskyV22CombinedComponents["priorScheduler"];
  priorImageProcessor: KandinskyV22CombinedComponents["priorImageProcessor"];

  constructor(components: KandinskyV22CombinedComponents) {
    super();
    this.unet = components.unet;
    this.movq = components.movq;
    this.scheduler = components.scheduler;
    this.priorPrior = components.priorPrior;
    this.priorImageEncoder = components.priorImageEncoder;
    this.priorTextEncoder = components.priorTextEncoder;
    this.priorTokenizer = components.priorTokenizer;
    this.priorScheduler = components.priorScheduler;
    this.priorImageProcessor = components.priorImageProcessor;
    this.hold();
  }

  protected get models() {
    return [this.priorTextEncoder, this.priorImageEncoder, this.priorPrior, this.movq, this.unet];
  }

  /** The decoder alone, sharing this pipeline's components. */
  protected abstract decoder(options: CombinedOptions<OutputType>): DiffusionPipeline & {
    // biome-ignore lint/suspicious/noExplicitAny: each has options of its own
    run(options: any): Promise<ImagesResult<any>>;
  };

  /**
   * Predicts embeddings and decodes them, with one source of noise for both.
   *
   * @param own options of the decoder that others do not have
   */
  protected async runBoth<T extends OutputType>(
    options: CombinedOptions<T>,
    own: Record<string, unknown> = {},
  ): Promise<ImagesResult<T>> {
    return await this.running(
      options as RunOptions<OutputType>,
      () => {
        const { texts, negative } = checkPriorTexts(options.prompt, options.negativePrompt);
        const sampling = checkSampling({ ...options, latents: undefined }, texts.length);
        return { ...sampling, images: negative ? sampling.count / 2 : sampling.count };
      },
      async ({ generator, seed, images }) => {
        using prior = new KandinskyV22PriorPipeline({
          prior: this.priorPrior,
          imageEncoder: this.priorImageEncoder,
          textEncoder: this.priorTextEncoder,
          tokenizer: this.priorTokenizer,
          scheduler: this.priorScheduler,
          imageProcessor: this.priorImageProcessor,
        });
        using decoder = this.decoder(options as CombinedOptions<OutputType>);
        for (const part of [prior, decoder]) part.offloadLike(this);
        const { prompt, negativePrompt, priorGuidanceScale, priorNumInferenceSteps, priorOnStep, latents } = options;
        const { numImagesPerPrompt, signal, allowNonFinite } = options;
        const predicted = await prior.run({
          ...{ prompt, negativePrompt, numImagesPerPrompt, latents, generator, signal, allowNonFinite },
          ...{ guidanceScale: priorGuidanceScale, numInferenceSteps: priorNumInferenceSteps, onStep: priorOnStep },
        });
        using imageEmbeds = predicted.imageEmbeds;
        using negativeImageEmbeds = predicted.negativeImageEmbeds;
        const { height, width, numInferenceSteps, guidanceScale, eta, outputType, onStep, onProgress } = options;
        const result = await decoder.run({
          ...{ imageEmbeds, negativeImageEmbeds, height, width, numInferenceSteps, guidanceScale, eta, outputType },
          ...{ onStep, onProgress, signal, allowNonFinite },
          // Those of the negative prompts' embeddings have done their work.
          generator: Array.isArray(generator) ? generator.slice(0, images) : generator,
          ...own,
        });
        return { images: result.images, ...(seed !== undefined && { seed }) } as ImagesResult<T>;
      },
    );
  }
}

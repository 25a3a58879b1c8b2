import { resolveDevice } from "../device.js";
import { InstructPix2PixError, throwIfAborted } from "../errors.js";
import { Generator, randomSeed } from "../generator.js";
import { RgbImage } from "../images.js";
import { ModelOffloader } from "../models/offloader.js";
import { native } from "../native/native.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { Scope } from "../scope.js";
import { Semaphore } from "../semaphore.js";
import { Tensor } from "../tensor.js";
import { type FromPretrainedOptions, loadComponents, type StableDiffusionComponents } from "./components.js";
import { Conditioning } from "./conditioning.js";
import { deepFeaturesOf, type GuidanceRow, guidanceRows, isWithin, sharedRows } from "./guidance.js";
import { type PipelineImage, prepareImage } from "./image-input.js";
import { Lease } from "./lease.js";
import { checkCount, checkFinite, checkTexts, refuseArgument } from "./options.js";
import { PromptCache } from "./prompt_cache.js";

export type OutputType = "image" | "tensor" | "latent";

export interface EditOptions {
  /** The instruction, or one for each row of the batch. Either this or `promptEmbeds`. */
  prompt?: string | readonly string[];
  /** The picture to edit (path, URL, encoded bytes, sharp instance, RgbImage), several, or a tensor [B,3,H,W] in 0..1. */
  image: PipelineImage;
  /** What to steer away from; the empty text if left out. Ignored without guidance. */
  negativePrompt?: string | readonly string[];
  /** Denoising steps, 1..num_train_timesteps. Default 100. */
  numInferenceSteps?: number;
  /** How strongly the instruction is followed. Default 7.5. */
  guidanceScale?: number;
  /** How closely the result keeps to the picture. Default 1.5. Guidance is on if `guidanceScale` > 1 and this is ≥ 1. */
  imageGuidanceScale?: number;
  /**
   * The part of the steps that are guided, from a fraction of them to another; the others compute one row of three. Faster
   * and not exact (Kynkäänniemi et al. 2024, https://arxiv.org/abs/2404.07724). Default [0, 1]: all.
   */
  guidanceInterval?: readonly [number, number];
  /**
   * Computes the deep levels of the UNet in every n-th step only. Faster and not exact (Ma et al. 2023,
   * https://arxiv.org/abs/2312.00858). Default 1: in every step.
   */
  deepCacheInterval?: number;
  /** Default 1. */
  numImagesPerPrompt?: number;
  /** η of DDIM, 0..1; other schedulers ignore it. Default 0. */
  eta?: number;
  /** Source of all noise: one, or one for each picture made. Either this or `seed`. */
  generator?: Generator | readonly Generator[];
  /** Seeds a CPU generator, so that a seed means the same picture on every device. Random if left out. */
  seed?: number | bigint;
  /** Noise to start from instead of a draw: [B·n,C,h,w], unit variance. */
  latents?: Tensor;
  /** Text embeddings [B,T,D] instead of `prompt`. */
  promptEmbeds?: Tensor;
  /** Text embeddings [B,T,D] instead of `negativePrompt`. */
  negativePromptEmbeds?: Tensor;
  /** "image" (default): RgbImage; "tensor": one Tensor [B·n,3,H,W] in 0..1; "latent": one Tensor [B·n,C,h,w]. */
  outputType?: OutputType;
  /** Stops the run within a step; it rejects with `ERR_ABORTED`. */
  signal?: AbortSignal;
  /** Called and awaited after every step. `latents` are the pipeline's: read them, do not dispose or keep them. */
  onStep?: (progress: StepProgress) => void | Promise<void>;
}

export interface StepProgress {
  /** Counts from 0. */
  step: number;
  /** How many there will be: schedulers of second order evaluate the model about twice per inference step. */
  totalSteps: number;
  timestep: number;
  latents: Tensor;
}

export interface EditResult<T extends OutputType = OutputType> {
  images: T extends "image" ? RgbImage[] : Tensor;
  /** The seed of the noise, if the run made its own generator. */
  seed?: number | bigint;
}

/**
 * Edits pictures by instruction: InstructPix2Pix (Brooks et al. 2023, https://arxiv.org/abs/2211.09800), with the numbers
 * of diffusers' `StableDiffusionInstructPix2PixPipeline`.
 *
 * Several runs may be under way on one pipeline; each gives what it gives alone. Each of the components can be replaced;
 * a run works with those that were there when it began.
 */
export class InstructPix2PixPipeline implements StableDiffusionComponents {
  vae: StableDiffusionComponents["vae"];
  textEncoder: StableDiffusionComponents["textEncoder"];
  tokenizer: StableDiffusionComponents["tokenizer"];
  unet: StableDiffusionComponents["unet"];
  /** Every run works on a clone of it. */
  scheduler: Scheduler;
  readonly #prompts = new PromptCache();
  readonly #turns = new Semaphore(1);
  #offloader: ModelOffloader | undefined;
  readonly #lease = new Lease("the pipeline", () => {
    for (const part of [this.unet, this.vae, this.textEncoder]) part.dispose();
    this.#prompts.clear();
  });

  constructor(components: StableDiffusionComponents) {
    this.vae = components.vae;
    this.textEncoder = components.textEncoder;
    this.tokenizer = components.tokenizer;
    this.unet = components.unet;
    this.scheduler = components.scheduler;
  }

  /**
   * Loads a folder as diffusers saves it, or a repository of the Hugging Face hub into its cache.
   *
   * @throws `ERR_LIBTORCH_NOT_FOUND` before anything else, `ERR_FILE_NOT_FOUND`, `ERR_HUB`, `ERR_CONFIG`,
   *   `ERR_SAFETENSORS`, `ERR_STATE_DICT`, `ERR_TOKENIZER`, `ERR_CUDA_UNAVAILABLE`, `ERR_OUT_OF_MEMORY`
   */
  static async fromPretrained(pathOrId: string, options: FromPretrainedOptions = {}): Promise<InstructPix2PixPipeline> {
    return new InstructPix2PixPipeline(await loadComponents(pathOrId, options));
  }

  /**
   * Edits.
   *
   * @throws `ERR_INVALID_ARGUMENT` naming the option, `ERR_IMAGE`, `ERR_ABORTED`, `ERR_OUT_OF_MEMORY`, `ERR_DISPOSED`
   */
  async run<T extends OutputType = "image">(options: EditOptions & { outputType?: T }): Promise<EditResult<T>> {
    throwIfAborted(options.signal);
    using _held = this.#lease.hold();
    const call = this.#check(options);
    const offloader = this.#offloader;
    if (!offloader) return await this.#run(call, options);
    // Runs under way together would take the device from each other at every step.
    return await this.#turns.run(async () => {
      for (const model of [call.vae, call.textEncoder, call.unet]) model.offloadBy(offloader);
      try {
        return await this.#run(call, options);
      } finally {
        await offloader.release();
      }
    });
  }

  /**
   * Keeps the models in host memory, and each on a device only while it computes: first the autoencoder, then the text
   * encoder, the UNet, and the autoencoder again. The device has to hold the largest alone; moving them takes time in every
   * run. Runs take turns. Components that are put in later are moved as well. Nothing may run while it is switched on.
   *
   * @param device "cuda" or "cuda:N"; "auto", the default, is the first CUDA device, or the CPU where there is none, and
   *   there nothing moves
   * @throws `ERR_CUDA_UNAVAILABLE`
   */
  async enableModelCpuOffload(device = "auto"): Promise<void> {
    const target = resolveDevice(device);
    await this.#turns.run(async () => {
      this.#offloader = undefined;
      await this.#place("cpu");
      this.#offloader = new ModelOffloader(target);
    });
  }

  /**
   * Moves all models to a device, where they then stay. Nothing may run meanwhile.
   *
   * @param device "cpu", "cuda" or "cuda:N", or "auto"
   * @throws as `PretrainedModel.to`
   */
  async to(device: string): Promise<this> {
    const target = resolveDevice(device);
    await this.#turns.run(async () => {
      this.#offloader = undefined;
      await this.#place(target);
    });
    return this;
  }

  async #place(device: string): Promise<void> {
    for (const model of [this.vae, this.textEncoder, this.unet]) {
      model.offloadBy(undefined);
      await model.to(device);
    }
  }

  async #run<T extends OutputType>(call: Call, options: EditOptions & { outputType?: T }): Promise<EditResult<T>> {
    const { signal } = options;
    throwIfAborted(signal);
    using scheduler = this.scheduler.clone();
    scheduler.setTimesteps(call.numInferenceSteps);
    using scope = new Scope();
    const { unet, vae, rows, device } = call;
    const { dtype } = unet;

    const { images: inputs } = sharedRows(rows, call.count);
    const imageLatents = await this.#imageLatents(call, inputs, options);
    const embeddings = await this.#textEmbeddings(call, options).catch((error: unknown) => {
      imageLatents.dispose();
      throw error;
    });
    const guided = scope.add(new Conditioning(rows, call.count, embeddings, imageLatents, scheduler.timesteps));
    const unguided = scope.add(await guided.withoutGuidance());
    const [, channels, height, width] = imageLatents.shape as [number, number, number, number];
    this.#checkChannels(call, channels);
    const shape = [call.count, vae.config.latent_channels, height, width];

    let latents = await this.#initialLatents(shape, scheduler, call, options.latents);
    try {
      for (const [step, timestep] of scheduler.timesteps.entries()) {
        throwIfAborted(signal);
        using scaled = await scheduler.scaleModelInput(latents, timestep);
        const conditioning = isWithin(call.guidanceInterval, step / scheduler.timesteps.length) ? guided : unguided;
        const deepFeatures = deepFeaturesOf(step, call.deepCacheInterval);
        using noise = await conditioning.predict(unet, scaled, timestep, { deepFeatures, signal });
        const { prevSample } = await scheduler.step(noise, timestep, latents, {
          generator: call.generator as Generator | Generator[],
          eta: call.eta,
        });
        latents.dispose();
        latents = prevSample;
        await options.onStep?.({ step, totalSteps: scheduler.timesteps.length, timestep, latents });
      }
      throwIfAborted(signal);
      if (call.outputType === "latent") {
        const images = await latents.to({ device, dtype });
        return { images, seed: call.seed } as EditResult<T>;
      }
      using unit = await this.#decode(call, latents, signal);
      const images = call.outputType === "tensor" ? await unit.clone() : await toPictures(unit);
      return { images, seed: call.seed } as EditResult<T>;
    } finally {
      latents.dispose();
    }
  }

  /** Frees the weights of every component, once the runs under way have finished; later runs are refused. */
  dispose(): void {
    this.#lease.dispose();
  }

  get disposed(): boolean {
    return this.#lease.disposed;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(options: EditOptions): Call {
    const { prompt, promptEmbeds, negativePrompt, negativePromptEmbeds, outputType = "image" } = options;
    if (options.image === undefined || options.image === null) refuseArgument("image", options.image, "given");
    if ((prompt === undefined) === (promptEmbeds === undefined))
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give either prompt or promptEmbeds");
    if (negativePrompt !== undefined && negativePromptEmbeds !== undefined)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give negativePrompt or negativePromptEmbeds, not both");
    if (options.seed !== undefined && options.generator !== undefined)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give seed or generator, not both");
    if (!["image", "tensor", "latent"].includes(outputType))
      refuseArgument("outputType", outputType, '"image", "tensor" or "latent"');

    const prompts = prompt === undefined ? undefined : checkTexts("prompt", prompt);
    const batch = prompts?.length ?? embeddingRows("promptEmbeds", promptEmbeds!);
    const negatives = negativePrompt === undefined ? undefined : checkTexts("negativePrompt", negativePrompt);
    if (negatives && negatives.length !== 1 && negatives.length !== batch)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `there are ${negatives.length} negative prompts for ${batch} prompts`,
      );
    if (negativePromptEmbeds && embeddingRows("negativePromptEmbeds", negativePromptEmbeds) !== batch)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `negativePromptEmbeds must have ${batch} rows`);

    const numImagesPerPrompt = checkCount("numImagesPerPrompt", options.numImagesPerPrompt ?? 1);
    const guidanceScale = checkFinite("guidanceScale", options.guidanceScale ?? 7.5);
    const imageGuidanceScale = checkFinite("imageGuidanceScale", options.imageGuidanceScale ?? 1.5);
    const guidanceInterval = options.guidanceInterval ?? [0, 1];
    const [from, to] = guidanceInterval;
    if (!(guidanceInterval.length === 2 && from >= 0 && from <= to && to <= 1))
      refuseArgument("guidanceInterval", JSON.stringify(guidanceInterval), "two fractions of the steps, in order");
    const deepCacheInterval = checkCount("deepCacheInterval", options.deepCacheInterval ?? 1);
    const eta = checkFinite("eta", options.eta ?? 0);
    if (eta < 0 || eta > 1) refuseArgument("eta", eta, "in 0..1");
    const count = batch * numImagesPerPrompt;
    const seed = options.generator ? undefined : (options.seed ?? randomSeed());
    const generator = options.generator ?? new Generator("cpu", seed);
    if (Array.isArray(generator) && generator.length !== count)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `there are ${generator.length} generators for ${count} pictures`,
      );
    const { vae, textEncoder, tokenizer, unet } = this;
    return {
      vae,
      textEncoder,
      tokenizer,
      unet,
      device: this.#offloader?.device ?? unet.device,
      prompts,
      negatives,
      batch,
      count,
      numImagesPerPrompt,
      numInferenceSteps: checkCount("numInferenceSteps", options.numInferenceSteps ?? 100),
      rows: guidanceRows(guidanceScale, imageGuidanceScale),
      guidanceInterval,
      deepCacheInterval,
      eta,
      seed,
      generator,
      outputType,
    };
  }

  /** [rows · B·n,T,D]: for each row of guidance the prompts, or what stands for no text. */
  async #textEmbeddings(call: Call, options: EditOptions): Promise<Tensor> {
    using scope = new Scope();
    const { device } = call;
    const { dtype } = call.unet;
    const embed = async (texts: readonly string[] | undefined, given: Tensor | undefined, length?: number) => {
      const encoded = scope.add(
        given ? await given.clone() : await this.#prompts.encode(texts!, call, { length, signal: options.signal }),
      );
      const placed = scope.add(await encoded.to({ device, dtype }));
      return scope.add(await placed.repeatInterleave(call.numImagesPerPrompt, 0));
    };
    const positive = await embed(call.prompts, options.promptEmbeds);
    if (call.rows.every(({ text }) => text)) return await positive.clone();
    const negatives = call.negatives ?? [""];
    const texts = negatives.length === call.batch ? negatives : Array<string>(call.batch).fill(negatives[0]!);
    // Embeddings that were given may be of fewer tokens than a prompt's.
    const negative = await embed(texts, options.negativePromptEmbeds, positive.shape[1]);
    if (negative.shape.join() !== positive.shape.join())
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `promptEmbeds [${positive.shape}] and negativePromptEmbeds [${negative.shape}] differ in shape`,
      );
    return await Tensor.cat(
      call.rows.map(({ text }) => (text ? positive : negative)),
      0,
    );
  }

  /** [images · B·n,C,h,w]: the pictures' latents, or zeros for none. Not scaled. */
  async #imageLatents(call: Call, images: readonly boolean[], options: EditOptions): Promise<Tensor> {
    using scope = new Scope();
    const { device } = call;
    const { dtype } = call.unet;
    const picture = scope.add(await prepareImage(options.image, call.vae.scaleFactor, { signal: options.signal }));
    const pictures = picture.shape[0]!;
    if (call.count % pictures !== 0)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${pictures} pictures cannot be matched with ${call.batch} prompts of ${call.numImagesPerPrompt} images each`,
      );
    const posterior = scope.add(await call.vae.encode(picture, { signal: options.signal }));
    const placed = scope.add(await posterior.mean.to({ device, dtype }));
    const latents = scope.add(await placed.repeatInterleave(call.count / pictures, 0));
    if (images.length === 1) return await latents.clone();
    const none = scope.add(await Tensor.zeros(latents.shape, { device, dtype }));
    return await Tensor.cat(
      images.map((image) => (image ? latents : none)),
      0,
    );
  }

  #checkChannels({ vae, unet }: Call, imageChannels: number): void {
    const noisy = vae.config.latent_channels;
    if (noisy + imageChannels === unet.config.in_channels) return;
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `the UNet takes ${unet.config.in_channels} channels, but ${noisy} of noisy and ${imageChannels} of image latents are given: it is not an InstructPix2Pix model`,
    );
  }

  async #initialLatents(
    shape: number[],
    scheduler: Scheduler,
    { unet, device, generator }: Call,
    given: Tensor | undefined,
  ): Promise<Tensor> {
    const { dtype } = unet;
    if (given && given.shape.join() !== shape.join())
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `latents must be [${shape}], not [${given.shape}]`);
    using noise = given ? await given.to({ device, dtype }) : await Tensor.randn(shape, { generator, dtype, device });
    return await Tensor.linearCombination([[scheduler.initNoiseSigma, noise]]);
  }

  /** Latents to pictures [B,3,H,W] in 0..1, float32. */
  async #decode({ vae }: Call, latents: Tensor, signal?: AbortSignal): Promise<Tensor> {
    using unscaled = await Tensor.linearCombination([[1 / vae.config.scaling_factor, latents]]);
    using decoded = await vae.decode(unscaled, { signal });
    using float = await decoded.to({ dtype: "float32" });
    using half = await float.mul(0.5);
    using shifted = await half.add(0.5);
    return await shifted.clamp(0, 1);
  }
}

type Call = Omit<StableDiffusionComponents, "scheduler"> & {
  /** Where it is computed. */
  device: string;
  prompts: readonly string[] | undefined;
  negatives: readonly string[] | undefined;
  batch: number;
  count: number;
  numImagesPerPrompt: number;
  rows: readonly GuidanceRow[];
  guidanceInterval: readonly [number, number];
  deepCacheInterval: number;
  numInferenceSteps: number;
  eta: number;
  /** Of the generator, if the run makes its own. */
  seed: number | bigint | undefined;
  generator: Generator | readonly Generator[];
  outputType: OutputType;
};

function embeddingRows(name: string, embeddings: Tensor): number {
  const [rows, , width] = embeddings.shape;
  if (embeddings.shape.length !== 3 || !rows || !width) refuseArgument(name, `[${embeddings.shape}]`, "[B,T,D]");
  return rows;
}

async function toPictures(unit: Tensor): Promise<RgbImage[]> {
  const [, , height, width] = unit.shape as [number, number, number, number];
  return (await native().tensorToPictures(unit.handle)).map((data) => new RgbImage(width, height, data));
}

import { type LoadOptions, loadComponents } from "../components/load.js";
import { ComponentHold } from "../components/shared.js";
import { deepFeaturesOf, isWithin, sharedRows } from "../conditioning/guidance.js";
import { PromptCache } from "../conditioning/prompt-cache.js";
import { describe } from "../core/arguments.js";
import { resolveDevice } from "../core/device.js";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import type { Generator } from "../core/generator.js";
import { Lease } from "../core/lease.js";
import { Scope } from "../core/scope.js";
import { Semaphore } from "../core/semaphore.js";
import { ofThisRealm, Tensor } from "../core/tensor.js";
import { RgbImage } from "../images/index.js";
import { ModelOffloader } from "../models/offloader.js";
import { native } from "../runtime/native.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { checkLatentChannels, checkPrediction, checkTextWidth, checkVocabulary } from "./compatibility.js";
import { INSTRUCT_PIX2PIX, type StableDiffusionComponents } from "./components.js";
import { Conditioning } from "./conditioning.js";
import { type Call, checkCall } from "./edit-call.js";
import type { EditOptions, EditResult, OutputType } from "./edit-options.js";
import { checkGivenTensors, FiniteChecks } from "./finite.js";
import { prepareImage } from "./image-input.js";
import { refuseArgument } from "./options.js";
import { callOnStep } from "./step-callback.js";

/**
 * Edits pictures by instruction: InstructPix2Pix (Brooks et al. 2023, https://arxiv.org/abs/2211.09800), numerically
 * equal to diffusers' `StableDiffusionInstructPix2PixPipeline`.
 *
 * Runs may overlap on one pipeline without affecting each other's results. Components can be replaced; a run uses those
 * present at its start.
 */
export class InstructPix2PixPipeline implements StableDiffusionComponents {
  vae: StableDiffusionComponents["vae"];
  textEncoder: StableDiffusionComponents["textEncoder"];
  tokenizer: StableDiffusionComponents["tokenizer"];
  unet: StableDiffusionComponents["unet"];
  /** Cloned for every run. */
  scheduler: Scheduler;
  readonly #prompts = new PromptCache();
  readonly #turns = new Semaphore(1);
  #offloader: ModelOffloader | undefined;
  readonly #hold = new ComponentHold();
  readonly #lease = new Lease("the pipeline", () => {
    this.#hold.update([this.unet, this.vae, this.textEncoder]);
    this.#hold.dispose();
    this.#prompts.clear();
  });

  constructor(components: StableDiffusionComponents) {
    this.vae = components.vae;
    this.textEncoder = components.textEncoder;
    this.tokenizer = components.tokenizer;
    this.unet = components.unet;
    this.scheduler = components.scheduler;
    this.#hold.update([this.unet, this.vae, this.textEncoder]);
  }

  /**
   * Loads a folder as diffusers saves it, or a repository of the Hugging Face hub into its cache.
   *
   * @throws `ERR_LIBTORCH_NOT_FOUND` before anything else, `ERR_FILE_NOT_FOUND`, `ERR_HUB`, `ERR_CONFIG`,
   *   `ERR_SAFETENSORS`, `ERR_STATE_DICT`, `ERR_TOKENIZER`, `ERR_NOT_FINITE`, `ERR_CUDA_UNAVAILABLE`, `ERR_OUT_OF_MEMORY`;
   *  a model of another kind, or with components that do not fit together, is refused before its weights are downloaded
   * or loaded
   */
  static async fromPretrained(
    pathOrId: string,
    options: LoadOptions<StableDiffusionComponents> = {},
  ): Promise<InstructPix2PixPipeline> {
    return new InstructPix2PixPipeline(await loadComponents(INSTRUCT_PIX2PIX, pathOrId, options));
  }

  /**
   * Edits.
   *
   * @throws `ERR_INVALID_ARGUMENT` naming the option, `ERR_IMAGE`, `ERR_CONFIG` for components that do not fit together,
   *  `ERR_NOT_FINITE` naming the first step whose latents held NaN or infinity, `ERR_ABORTED`, `ERR_OUT_OF_MEMORY`,
   *   `ERR_DISPOSED`
   */
  async run<T extends OutputType = "image">(options: EditOptions<T>): Promise<EditResult<T>> {
    if (typeof options !== "object" || options === null) refuseArgument("options", describe(options), "an object");
    throwIfAborted(options.signal);
    using _held = this.#lease.hold();
    const call = this.#check(options);
    const offloader = this.#offloader;
    if (!offloader) return await this.#run(call, options);
    // Concurrent runs would evict each other's models at every step.
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
   * encoder, the UNet, and the autoencoder again. The device only has to hold the largest model; moving them takes time
   * in every run. Runs are serialised. Components set later are moved as well. Must not be called during a run.
   *
   * @param device "cuda" or "cuda:N"; "auto", the default, is the first CUDA device, or the CPU if there is none, where
   * nothing moves
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
   * Moves all models to a device, where they stay. Must not be called during a run.
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

  async #run<T extends OutputType>(call: Call, options: EditOptions<T>): Promise<EditResult<T>> {
    const { signal } = options;
    throwIfAborted(signal);
    using scheduler = this.scheduler.clone();
    scheduler.setTimesteps(call.numInferenceSteps);
    using scope = new Scope();
    const { unet, vae, rows, device } = call;
    const { dtype } = unet;
    const finite = new FiniteChecks(call);
    await checkGivenTensors(options);

    const { images: inputs } = sharedRows(rows, call.count);
    const imageLatents = await this.#imageLatents(call, inputs, finite, options);
    const embeddings = await this.#textEmbeddings(call, finite, options).catch((error: unknown) => {
      imageLatents.dispose();
      throw error;
    });
    const guided = scope.add(new Conditioning(rows, call.count, embeddings, imageLatents, scheduler.timesteps));
    const unguided = scope.add(await guided.withoutGuidance());
    const [, , height, width] = imageLatents.shape as [number, number, number, number];
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
        const totalSteps = scheduler.timesteps.length;
        const replacement = await callOnStep(options.onStep, { step, totalSteps, timestep, latents });
        if (replacement) {
          latents.dispose();
          latents = replacement;
          await finite.replaced(latents, step, totalSteps);
        } else await finite.step(latents, step, totalSteps);
      }
      throwIfAborted(signal);
      if (call.outputType === "latent") {
        const images = await latents.to({ device, dtype });
        return { images, seed: call.seed } as EditResult<T>;
      }
      using unit = await this.#decode(call, latents, finite, signal);
      const images = call.outputType === "tensor" ? await unit.clone() : await toPictures(unit);
      return { images, seed: call.seed } as EditResult<T>;
    } finally {
      latents.dispose();
    }
  }

  /**
   * Frees the weights after the current runs have finished; later runs throw `ERR_DISPOSED`. Components that another
   * pipeline holds are freed with that one, and those given to `fromPretrained` by whoever loaded them.
   */
  dispose(): void {
    this.#lease.dispose();
  }

  get disposed(): boolean {
    return this.#lease.disposed;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Validates the combination of inputs and components, before anything is computed. */
  #check(options: EditOptions<OutputType>): Call {
    const call = checkCall(options, this, this.#offloader?.device ?? this.unet.device);
    const { unet, vae, textEncoder, tokenizer } = call;
    checkLatentChannels(unet.config, vae.config);
    checkPrediction(unet.config, vae.config, this.scheduler);
    const negativeText = !options.negativePromptEmbeds && call.rows.some(({ text }) => !text);
    if (call.prompts || negativeText) {
      checkTextWidth(unet.config, textEncoder.config);
      checkVocabulary(tokenizer, textEncoder.config);
    }
    return call;
  }

  /** [rows · B·n,T,D]: for each row of guidance the prompts or the negative prompts. */
  async #textEmbeddings(call: Call, finite: FiniteChecks, options: EditOptions<OutputType>): Promise<Tensor> {
    using scope = new Scope();
    const { device } = call;
    const { dtype } = call.unet;
    const embed = async (texts: readonly string[] | undefined, given: Tensor | undefined, length?: number) => {
      const encoded = scope.add(
        given ? await given.clone() : await this.#prompts.encode(texts!, call, { length, signal: options.signal }),
      );
      if (!given) await finite.textEmbeddings(encoded);
      const placed = scope.add(await encoded.to({ device, dtype }));
      return scope.add(await placed.repeatInterleave(call.numImagesPerPrompt, 0));
    };
    const positive = await embed(call.prompts, options.promptEmbeds);
    if (call.rows.every(({ text }) => text)) return await positive.clone();
    const negatives = call.negatives ?? [""];
    const texts = negatives.length === call.batch ? negatives : Array<string>(call.batch).fill(negatives[0]!);
    // Given embeddings may have fewer tokens than an encoded prompt.
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

  /** [inputs · B·n,C,h,w]: for each input the pictures' latents, or zeros for none. Not scaled. */
  async #imageLatents(
    call: Call,
    inputs: readonly boolean[],
    finite: FiniteChecks,
    options: EditOptions<OutputType>,
  ): Promise<Tensor> {
    using scope = new Scope();
    const { device, allowNonFinite, vae } = call;
    const { dtype } = call.unet;
    const { signal } = options;
    const { scaleFactor: factor } = vae;
    const { latent_channels: latentChannels } = vae.config;
    const input = await prepareImage(options.image, { factor, latentChannels, allowNonFinite, signal });
    const given = scope.add("latents" in input ? input.latents : input.pixels);
    const pictures = given.shape[0]!;
    if (call.count % pictures !== 0)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${pictures} pictures cannot be matched with ${call.batch} prompts of ${call.numImagesPerPrompt} images each`,
      );
    const encoded = "latents" in input ? given : scope.add(await vae.encode(given, { signal })).mean;
    const placed = scope.add(await encoded.to({ device, dtype }));
    await finite.imageLatents(placed);
    // Picture i goes with prompt i, and prompts are repeated one by one. If the numbers differ, pictures repeat
    // cyclically.
    const paired = call.batch % pictures === 0;
    const batch = scope.add(await placed.repeat([(paired ? call.batch : call.count) / pictures, 1, 1, 1]));
    const latents = paired ? scope.add(await batch.repeatInterleave(call.numImagesPerPrompt, 0)) : batch;
    if (inputs.length === 1) return await latents.clone();
    const none = scope.add(await Tensor.zeros(latents.shape, { device, dtype }));
    return await Tensor.cat(
      inputs.map((image) => (image ? latents : none)),
      0,
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
  async #decode({ vae }: Call, latents: Tensor, finite: FiniteChecks, signal?: AbortSignal): Promise<Tensor> {
    const scale = 1 / vae.config.scaling_factor;
    using unscaled = await Tensor.linearCombination([[scale, latents]], { dtype: vae.dtype });
    using decoded = await vae.decode(unscaled, { signal });
    await finite.decoded(decoded);
    using float = await decoded.to({ dtype: "float32" });
    using half = await float.mul(0.5);
    using shifted = await half.add(0.5);
    return await shifted.clamp(0, 1);
  }
}

async function toPictures(unit: Tensor): Promise<RgbImage[]> {
  const [, , height, width] = unit.shape as [number, number, number, number];
  return (await native().tensorToPictures(unit.handle)).map((data) => new RgbImage(width, height, ofThisRealm(data)));
}

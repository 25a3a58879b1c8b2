import { deepFeaturesOf, type GuidanceRow, isWithin, sharedRows } from "../conditioning/guidance.js";
import { GuidedUNet } from "../conditioning/guided-unet.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import type { Denoising, StepInput } from "./denoise.js";
import type { CallbackTensors } from "./step-callback.js";
import type { TextEmbeddings } from "./text.js";

export interface GuidedStepsOptions {
  unet: UNet2DConditionModel;
  /** The rows of guidance that are computed. */
  rows: readonly GuidanceRow[];
  /** All rows as diffusers orders them, which the step callback sees. */
  layout: readonly Pick<GuidanceRow, "text" | "image">[];
  /** Number of pictures. */
  count: number;
  text: TextEmbeddings;
  /** Channels that the UNet takes behind those of the latents, [count,C,h,w]; zeros for rows without picture. */
  channels?: Tensor | undefined;
  /** Whether the step callback sees these channels as `imageLatents`. */
  showsChannels?: boolean | undefined;
  /** φ of `guidanceRescale`. */
  rescale?: number | undefined;
  timesteps: readonly number[];
  guidanceInterval: readonly [number, number];
  deepCacheInterval: number;
  signal?: AbortSignal | undefined;
}

/** The UNet's predictions in the steps of a run: guided, or not in the steps that the guidance interval leaves out. */
export class GuidedSteps implements Disposable {
  readonly #options: GuidedStepsOptions;
  readonly #guided: GuidedUNet;
  readonly #unguided: GuidedUNet;
  readonly #shown = new Scope();
  #promptEmbeds: Tensor | undefined;
  #imageLatents: Tensor | undefined;

  private constructor(options: GuidedStepsOptions, guided: GuidedUNet, unguided: GuidedUNet) {
    this.#options = options;
    this.#guided = guided;
    this.#unguided = unguided;
  }

  /** The text embeddings and channels stay the caller's, and must outlive the steps. */
  static async create(options: GuidedStepsOptions): Promise<GuidedSteps> {
    const { unet, rows, count, text, channels, rescale, timesteps } = options;
    using scope = new Scope();
    const { images } = sharedRows(rows, count);
    const ofRows = channels && scope.add(await ofInputs(channels, images, scope));
    const embeddings = await text.ofRows(rows);
    // A handle of its own, which the prediction frees.
    const own = await ofRows?.clone();
    const guided = new GuidedUNet({ unet, rows, count, rescale, timesteps, embeddings, channels: own });
    try {
      return new GuidedSteps(options, guided, await guided.withoutGuidance());
    } catch (error) {
      guided[Symbol.dispose]();
      throw error;
    }
  }

  /** What {@link denoise} needs of these steps. */
  get hooks(): Pick<Denoising, "predict" | "callbackTensors"> {
    return { predict: (input) => this.#predict(input), callbackTensors: this.#callbackTensors };
  }

  async #predict({ scaled, timestep, step }: StepInput): Promise<Tensor> {
    const { timesteps, guidanceInterval, deepCacheInterval, signal } = this.#options;
    const unet = isWithin(guidanceInterval, step / timesteps.length) ? this.#guided : this.#unguided;
    return await unet.predict(scaled, timestep, { deepFeatures: deepFeaturesOf(step, deepCacheInterval), signal });
  }

  /** What the step callback sees of the conditions. */
  readonly #callbackTensors: CallbackTensors = {
    read: async () => {
      const { text, layout, channels, showsChannels } = this.#options;
      this.#promptEmbeds ??= this.#shown.add(await text.ofRows(layout));
      const seen = { promptEmbeds: this.#promptEmbeds };
      if (!channels || !showsChannels) return seen;
      using scope = new Scope();
      const images = layout.map(({ image }) => image);
      this.#imageLatents ??= this.#shown.add(await ofInputs(channels, images, scope));
      return { ...seen, imageLatents: this.#imageLatents };
    },
    replace: async ({ promptEmbeds, imageLatents }) => {
      for (const unet of [this.#guided, this.#unguided])
        await unet.replace({ embeddings: promptEmbeds, channels: imageLatents });
      // The next callback sees what it set.
      if (promptEmbeds) this.#promptEmbeds = this.#shown.add(await promptEmbeds.clone());
      if (imageLatents) this.#imageLatents = this.#shown.add(await imageLatents.clone());
    },
  };

  [Symbol.dispose](): void {
    for (const part of [this.#guided, this.#unguided, this.#shown]) part[Symbol.dispose]();
  }
}

/** [inputs · B·n,C,h,w]: for each input the channels, or zeros for none. */
async function ofInputs(channels: Tensor, images: readonly boolean[], scope: Scope): Promise<Tensor> {
  if (images.length === 1 && images[0]) return await channels.clone();
  const { device, dtype } = channels;
  const none = images.every(Boolean) ? channels : scope.add(await Tensor.zeros(channels.shape, { device, dtype }));
  return await Tensor.cat(
    images.map((image) => (image ? channels : none)),
    0,
  );
}

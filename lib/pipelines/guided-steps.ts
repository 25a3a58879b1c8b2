import { deepFeaturesOf, type GuidanceRow, isWithin, sharedRows } from "../conditioning/guidance.js";
import { type Controls, controlScales } from "../conditioning/guided-control.js";
import { GuidedUNet } from "../conditioning/guided-unet.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import type { AdapterWeights } from "../models/adapter-weights.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import type { Denoising, StepInput } from "./denoise.js";
import type { CallbackTensors, Conditions } from "./step-callback.js";
import type { TextEmbeddings } from "./text.js";

/** What SDXL adds to the embedding of the timestep, with one row for each image. */
export interface AddedText {
  /** Pooled text embeddings [B·n,E]. */
  textEmbeds: TextEmbeddings;
  /** Sizes and crops, or aesthetic scores, [B·n,K]. */
  timeIds: TextEmbeddings;
}

export interface GuidedStepsOptions {
  unet: UNet2DConditionModel;
  /** The rows of guidance that are computed. */
  rows: readonly GuidanceRow[];
  /** All rows as diffusers orders them, which the step callback sees. */
  layout: readonly Pick<GuidanceRow, "text" | "image">[];
  /** Number of images. */
  count: number;
  text: TextEmbeddings;
  /** Conditions of SDXL's UNets, which the step callback sees as `addTextEmbeds` and `addTimeIds`. */
  added?: AddedText | undefined;
  /** One number for all rows, [1], of UNets with class embeddings. */
  classLabels?: Tensor | undefined;
  /** Added to the embedding of the timestep, [B·n,D]; a tensor is the same for all rows, and stays the caller's. */
  timestepCond?: TextEmbeddings | Tensor | undefined;
  /** Channels that the UNet takes behind those of the latents, [count,C,h,w]; zeros for rows without image. */
  channels?: Tensor | undefined;
  /** Whether the step callback sees these channels as `imageLatents`. */
  showsChannels?: boolean | undefined;
  /** Adapters of the UNet that count. */
  adapters?: readonly AdapterWeights[] | undefined;
  /** φ of `guidanceRescale`. */
  rescale?: number | undefined;
  /** ControlNets; their images stay the caller's. */
  controls?: Controls | undefined;
  timesteps: readonly number[];
  /** Steps that the ControlNets' fractions are of. Default those of the timesteps. */
  controlledSteps?: number | undefined;
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
  /** The step callback's tensors, once it was called. */
  readonly #seen: Partial<Record<Conditions, Tensor>> = {};

  private constructor(options: GuidedStepsOptions, guided: GuidedUNet, unguided: GuidedUNet) {
    this.#options = options;
    this.#guided = guided;
    this.#unguided = unguided;
  }

  /** The text embeddings and channels stay the caller's, and must outlive the steps. */
  static async create(options: GuidedStepsOptions): Promise<GuidedSteps> {
    const {
      unet,
      rows,
      count,
      text,
      added,
      classLabels,
      timestepCond,
      channels,
      rescale,
      controls,
      timesteps,
      adapters,
    } = options;
    using scope = new Scope();
    const { images } = sharedRows(rows, count);
    // The prediction frees it.
    const own = channels && (await ofInputs(channels, images, scope));
    const embeddings = await text.ofRows(rows);
    const ownAdded = added && {
      textEmbeds: await added.textEmbeds.ofRows(rows),
      timeIds: await added.timeIds.ofRows(rows),
    };
    const guided = new GuidedUNet({
      ...{ unet, rows, count, rescale, controls, timesteps, adapters },
      ...{ embeddings, channels: own, added: ownAdded },
      classLabels: await classLabels?.clone(),
      timestepCond: timestepCond instanceof Tensor ? await timestepCond.clone() : await timestepCond?.ofRows(rows),
    });
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

  async #predict({ scaled, timestep, step, seat }: StepInput): Promise<Tensor> {
    const { timesteps, guidanceInterval, deepCacheInterval, controls, signal } = this.#options;
    const unet = isWithin(guidanceInterval, step / timesteps.length) ? this.#guided : this.#unguided;
    const { controlledSteps = timesteps.length } = this.#options;
    const scales = controls && controlScales(controls, step, controlledSteps);
    const deepFeatures = deepFeaturesOf(step, deepCacheInterval);
    return await unet.predict(scaled, timestep, {
      deepFeatures,
      ...(scales && { controlScales: scales }),
      seat,
      signal,
    });
  }

  /** What the step callback sees of the conditions. */
  readonly #callbackTensors: CallbackTensors = {
    read: async () => {
      const { text, added, layout, channels, showsChannels } = this.#options;
      const show = async (name: Conditions, make: () => Promise<Tensor>) =>
        (this.#seen[name] ??= this.#shown.add(await make()));
      const promptEmbeds = await show("promptEmbeds", () => text.ofRows(layout));
      if (added) {
        await show("addTextEmbeds", () => added.textEmbeds.ofRows(layout));
        await show("addTimeIds", () => added.timeIds.ofRows(layout));
      }
      if (channels && showsChannels) {
        using scope = new Scope();
        const images = layout.map(({ image }) => image);
        await show("imageLatents", () => ofInputs(channels, images, scope));
      }
      return { ...this.#seen, promptEmbeds };
    },
    replace: async (replaced) => {
      const { promptEmbeds: embeddings, imageLatents: channels, addTextEmbeds, addTimeIds } = replaced;
      const added = {
        ...(addTextEmbeds && { textEmbeds: addTextEmbeds }),
        ...(addTimeIds && { timeIds: addTimeIds }),
      };
      for (const unet of [this.#guided, this.#unguided]) await unet.replace({ embeddings, channels, added });
      // The next callback sees what it set.
      for (const [name, tensor] of Object.entries(replaced))
        if (tensor) this.#seen[name as Conditions] = this.#shown.add(await tensor.clone());
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

import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { disposeAll, type Tensor } from "../core/tensor.js";
import { isFile } from "../files/is-file.js";
import { loadSafetensors, readSafetensorsHeader } from "../files/safetensors.js";
import { resolvePretrained } from "../hub/index.js";
import { AdaptedModel, NO_ADAPTERS } from "../lora/adapted-model.js";
import { readAdapter } from "../lora/adapter.js";
import { AdaptableLayers } from "../lora/layers.js";
import { type LoraComponent, parseLoraName } from "../lora/names.js";
import type { ModelOptions, PretrainedModel, QuantizationOptions } from "../models/pretrained.js";
import { type UNet2DConditionConfig, UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { native } from "../runtime/native.js";
import type { ComponentSlot } from "./description.js";
import { ModelAt, type PlaceOptions } from "./model-at.js";
import type { BaseModel } from "./model-index.js";

/** The name of the LoRA of a model that training saved as one. */
const ADAPTER = "trained";

/** What training made of a base model's component. */
interface Adaptation {
  component: LoraComponent;
  /** The LoRA's file. */
  lora: string;
  /** The file with a first convolution that takes an image too. */
  convIn: string | undefined;
}

/** A model of a base model, to which a LoRA is added when it is loaded. */
export class AdaptedModelAt extends ModelAt {
  readonly #adaptation: Adaptation;

  private constructor(at: Pick<ModelAt, "folder" | "modelClass" | "config" | "variant">, adaptation: Adaptation) {
    super(at);
    this.#adaptation = adaptation;
  }

  /**
   * Finds the base model's component, if the LoRA changes it.
   *
   * @throws as {@link ModelAt.find}
   */
  static async findAdapted(
    folder: string,
    base: BaseModel & { lora: string },
    slot: ComponentSlot,
    component: LoraComponent,
    options: PlaceOptions,
  ): Promise<AdaptedModelAt | undefined> {
    const lora = join(folder, base.lora);
    const convIn = component === "unet" && base.convIn !== undefined ? join(folder, base.convIn) : undefined;
    const names = [...(await readSafetensorsHeader(lora)).keys()];
    if (!convIn && !names.some((name) => parseLoraName(name)?.component === component)) return undefined;
    if (await isFile(base.model))
      throw new InstructPix2PixError(
        "ERR_CONFIG",
        `${folder}: the LoRA's base model ${base.model} is a single file; save that as a folder, and load the LoRA into it`,
      );
    const { variant = base.variant } = options;
    const hub = { ...options, variant, revision: base.revision, components: [slot.folder] };
    const found = await resolvePretrained(base.model, hub);
    const at = await ModelAt.find(join(found, slot.folder), slot, { ...options, variant });
    const config = convIn ? { ...(at.config as object), in_channels: await channelsOf(convIn) } : at.config;
    const { folder: place, modelClass, variant: has } = at;
    return new AdaptedModelAt({ folder: place, modelClass, config, variant: has }, { component, lora, convIn });
  }

  override async load(options: ModelOptions & QuantizationOptions): Promise<PretrainedModel<unknown>> {
    const { component, lora, convIn } = this.#adaptation;
    const model = convIn ? await this.#widened(convIn, options) : await super.load(options);
    try {
      const shapes = await native().modelParameterShapes(model.handle);
      const structure = component === "unet" ? (model.config as UNet2DConditionConfig) : undefined;
      const layers = new Map([[component, new AdaptableLayers(component, shapes, structure)]]);
      const factors = (await readAdapter(lora, layers, component)).get(component);
      if (!factors) return model;
      const active = [{ name: ADAPTER, weightOf: () => 1 }];
      const adapters = new Map([[ADAPTER, factors]]);
      await AdaptedModel.of(model).become({ ...NO_ADAPTERS, adapters, active });
      return model;
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  async #widened(convIn: string, options: ModelOptions): Promise<PretrainedModel<unknown>> {
    const { in_channels: inChannels } = this.config as UNet2DConditionConfig;
    const { in_channels: existing } = (await this.modelClass.readConfig(this.folder)) as UNet2DConditionConfig;
    const { variant } = this;
    const channels = { existing, inChannels };
    const { unet } = await UNet2DConditionModel.fromPretrainedExtended(this.folder, channels, { ...options, variant });
    let trained: Record<string, Tensor> = {};
    try {
      trained = await loadSafetensors(convIn);
      for (const [name, tensor] of Object.entries(trained))
        await native().setModelParameter(unet.handle, name, tensor.handle);
      return unet;
    } catch (error) {
      unet.dispose();
      throw error;
    } finally {
      disposeAll(...Object.values(trained));
    }
  }
}

/** The input channels of the convolution in a file. @throws `ERR_STATE_DICT` */
async function channelsOf(path: string): Promise<number> {
  const header = await readSafetensorsHeader(path);
  const [, channels] = header.get("conv_in.weight")?.shape ?? [];
  if (channels === undefined || !header.has("conv_in.bias") || header.size !== 2)
    throw new InstructPix2PixError("ERR_STATE_DICT", `${path}: is not the first convolution of a UNet`);
  return channels;
}

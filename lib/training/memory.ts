import type { ModelDType } from "../core/tensor.js";
import type { AutoencoderKLConfig } from "../models/autoencoder_kl.js";
import type { ModelDescription } from "../models/pretrained.js";
import { type UNet2DConditionConfig, UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { autoencoderMemory } from "../pipelines/footprint.js";
import { availableMemory } from "../runtime/host.js";
import { native } from "../runtime/native.js";
import { memoryNeeds, type RunSizes, type WeightCounts } from "./memory-needs.js";
import { refuseOverflow } from "./memory-savings.js";
import type { TrainOptions } from "./options.js";
import { type UNetLevels, unetActivations } from "./unet-activations.js";

// The memory of a training run on the CPU, from configurations alone: a device reports by itself that its memory is full, but on the
// CPU the system would end the process.

/** A model that a run is about to load. */
export interface ModelToCount {
  /** As far as its native configuration needs it. */
  readonly description: Pick<ModelDescription<never>, "kind" | "toNative">;
  readonly config: unknown;
}

/** The models of a run, before anything of them is loaded. */
export interface RunModels {
  readonly unet: Readonly<UNet2DConditionConfig>;
  readonly vae: Readonly<AutoencoderKLConfig>;
  /** What is trained beside the UNet. */
  readonly trained: readonly ModelToCount[];
  /** What is not trained, and its type. */
  readonly frozen: readonly (ModelToCount & { readonly dtype: ModelDType })[];
  /** The type of the autoencoder. */
  readonly vaeDType: ModelDType;
}

/**
 * Checks that a run fits into the memory that is free now, before weights are read.
 *
 * @throws `ERR_OUT_OF_MEMORY` naming the settings with which it would fit
 */
export async function checkTrainingMemory(
  models: RunModels,
  options: TrainOptions,
  available = availableMemory(),
): Promise<void> {
  const sizes = await sizesOf(models, options);
  refuseOverflow(options, (settings) => memoryNeeds(sizes, settings), available);
}

async function sizesOf(models: RunModels, options: TrainOptions): Promise<RunSizes> {
  const { trainBatchSize, resolution } = options;
  const count = async ({ description, config }: ModelToCount): Promise<WeightCounts> =>
    await native().countModelParameters(description.kind, description.toNative(config as never, ""));
  const unet: ModelToCount = { description: UNet2DConditionModel.description, config: models.unet };
  const trained = { products: 0, others: 0 };
  for (const model of [unet, ...models.trained]) {
    const { products, others } = await count(model);
    trained.products += products;
    trained.others += others;
  }
  let frozen = 0;
  if (options.lora) {
    // Read in float32, and narrowed afterwards.
    frozen += (trained.products + trained.others) * bytesOf("float32");
    trained.products *= Math.min(1, options.rank / SHARE_OF_RANK);
    trained.others = 0;
  }
  for (const model of models.frozen) {
    const { products, others } = await count(model);
    frozen += (products + others) * bytesOf(model.dtype);
  }
  const levels = UNet2DConditionModel.description.toNative(models.unet, "") as UNetLevels;
  const edge = resolution / 2 ** (models.vae.block_out_channels.length - 1);
  const picture = { height: resolution, width: resolution };
  return {
    trained,
    frozen,
    activations: unetActivations(levels, trainBatchSize, edge),
    encoding: autoencoderMemory(models.vae, picture, { rows: trainBatchSize, bytes: bytesOf(models.vaeDType) }),
  };
}

/** A rank at which a LoRA has at most as many weights as layers of 320 features, the narrowest of Stable Diffusion. */
const SHARE_OF_RANK = 160;

function bytesOf(dtype: ModelDType): number {
  return dtype === "float32" ? 4 : 2;
}

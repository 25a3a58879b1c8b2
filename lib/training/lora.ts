import { join } from "node:path";
import type { SavedPipeline } from "../components/save.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Generator } from "../core/generator.js";
import type { Tensor } from "../core/tensor.js";
import { saveSafetensors } from "../files/safetensors.js";
import { AdaptableLayers } from "../lora/layers.js";
import { KOHYA_PREFIXES, type LoraComponent } from "../lora/names.js";
import { type LoraFormat, peftName, type SavedAdapterPart, writeAdapter } from "../lora/save.js";
import { LORA_FILE } from "../lora/source.js";
import { type LayerShapes, targetedLayers } from "../lora/targets.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import { native } from "../runtime/native.js";
import type { TrainOptions } from "./options.js";
import type { EditModels } from "./recipes/edit/models.js";
import { restoreFile, type Suffix, type TrainedFiles } from "./trained-files.js";
import { addAdapter, splitByModel, type Trainer } from "./trainer.js";

/** The file with the first convolution of a UNet that was made to take an image. */
export const CONV_IN_FILE = "conv_in.safetensors";
const CONV_IN = ["conv_in.weight", "conv_in.bias"] as const;

type Settings = Pick<
  TrainOptions,
  "rank" | "loraAlpha" | "loraDropout" | "loraTargets" | "loraFormat" | "compat" | "trainTextEncoder"
> & { seed: bigint };

/** What a LoRA changes in a model. */
interface Part {
  component: LoraComponent;
  layers: readonly string[];
  targets: readonly string[];
  names: AdaptableLayers["originalNames"] | undefined;
  kohyaPrefix: string;
}

/**
 * Gives the models of a run a LoRA: of rank `rank`, in the layers that `loraTargets` name. A first convolution that was made to
 * take an image has weights of 0 for it, so it is trained in full beside the LoRA; one that took an image before stays as it is.
 *
 * @param generator for `compat`: the reference's draws
 * @throws `ERR_INVALID_ARGUMENT` for targets that no layer has, and for what the reference cannot train
 */
export async function addLora(models: EditModels, settings: Settings, generator: Generator): Promise<LoraFiles> {
  const { unet, textEncoders, extended } = models;
  const { rank, loraAlpha: alpha = rank, loraDropout: dropout, compat, seed } = settings;
  if (compat && extended)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      "compat: the reference cannot train a LoRA of a model whose UNet takes no image; leave compat out",
    );
  const trained = new Map(Object.entries({ unet, ...textEncoders }) as [LoraComponent, AdaptedModel][]);
  const shapes = new Map<LoraComponent, LayerShapes>();
  for (const [component, model] of trained) shapes.set(component, await layersOf(model.handle));
  const found = targetedLayers(settings.loraTargets, shapes);
  const isXL = models.family === "sdxl";
  const parts: Part[] = [];
  for (const [component, model] of trained) {
    const { layers, targets } = found.get(component)!;
    const inFull = component === "unet" && extended ? CONV_IN : [];
    const own = layers.filter((layer) => !inFull.some((name) => name.startsWith(`${layer}.`)));
    const draws = compat ? generator : new Generator("cpu", (seed + BigInt(parts.length) * SEED_STEP) % 2n ** 64n);
    await addAdapter(model, { layers: own, rank, alpha, dropout, inFull, likePeft: compat !== undefined }, draws);
    // kohya's scripts name the blocks of Stable Diffusion XL as the original code does.
    const names =
      component === "unet" && isXL
        ? new AdaptableLayers("unet", await native().modelParameterShapes(model.handle), unet.config).originalNames
        : undefined;
    parts.push({ component, layers: own, targets, names, kohyaPrefix: KOHYA_PREFIXES[models.family][component] });
  }
  return new LoraFiles(models, parts, { rank, alpha, dropout }, settings.loraFormat);
}

type AdaptedModel = EditModels["unet"] | CLIPTextModel;

/** Far from the distances of other generators' seeds. */
const SEED_STEP = 0xd1342543de82ef95n;

async function layersOf(handle: EditModels["unet"]["handle"]): Promise<LayerShapes> {
  const shapes = await native().modelParameterShapes(handle);
  return new Map(
    Object.entries(shapes).flatMap(([name, shape]) =>
      name.endsWith(".weight") && shape.length >= 2 && !/embedding\.weight$/.test(name)
        ? [[name.slice(0, -".weight".length), shape] as const]
        : [],
    ),
  );
}

/** A LoRA, as a file that diffusers reads, and a first convolution beside it. */
export class LoraFiles implements TrainedFiles {
  readonly #models: EditModels;
  readonly #parts: readonly Part[];
  readonly #settings: Pick<SavedAdapterPart, "rank" | "alpha" | "dropout">;
  readonly #format: LoraFormat;

  constructor(
    models: EditModels,
    parts: readonly Part[],
    settings: Pick<SavedAdapterPart, "rank" | "alpha" | "dropout">,
    format: LoraFormat,
  ) {
    this.#models = models;
    this.#parts = parts;
    this.#settings = settings;
    this.#format = format;
  }

  save(folder: string, suffix: Suffix, tensors: Record<string, Tensor>): Promise<void> {
    return this.#write(folder, suffix, tensors, "diffusers");
  }

  async restoreWeights(folder: string, trainer: Trainer): Promise<void> {
    await this.#restore(folder, "", await trainer.weights(), "the LoRA");
  }

  restoreAverage(folder: string, average: Record<string, Tensor>): Promise<void> {
    return this.#restore(folder, "_ema", average, "the LoRA's EMA weights");
  }

  place(suffix: Suffix) {
    return {
      trained: {},
      lora: fileOf(LORA_FILE, suffix),
      ...(this.#models.extended && { convIn: fileOf(CONV_IN_FILE, suffix) }),
    };
  }

  async result(tensors: Record<string, Tensor>): Promise<SavedPipeline> {
    const pipeline = this.#models.pipeline(splitByModel({}));
    const components = Object.entries(pipeline.components).map(([name, part]) => [
      name,
      part && { ...part, write: async () => {} },
    ]);
    return {
      ...pipeline,
      components: Object.fromEntries(components),
      write: (folder) => this.#write(folder, "", tensors, this.#format),
    };
  }

  async #write(folder: string, suffix: Suffix, tensors: Record<string, Tensor>, format: LoraFormat): Promise<void> {
    const split = splitByModel(tensors);
    const parts = this.#parts.map(({ component, layers, targets, names, kohyaPrefix: prefix }): SavedAdapterPart => {
      const own = split[component];
      const factors = layers.map(
        (layer) => [layer, { down: own[`${layer}.lora_A.weight`]!, up: own[`${layer}.lora_B.weight`]! }] as const,
      );
      return { ...this.#settings, component, layers: new Map(factors), targets, prefix, ...(names && { names }) };
    });
    await writeAdapter(join(folder, fileOf(LORA_FILE, suffix)), parts, format);
    if (!this.#models.extended) return;
    const convIn = Object.fromEntries(CONV_IN.map((name) => [name, split.unet[name]!]));
    await saveSafetensors(join(folder, fileOf(CONV_IN_FILE, suffix)), convIn, { format: "pt" });
  }

  async #restore(folder: string, suffix: Suffix, tensors: Record<string, Tensor>, what: string): Promise<void> {
    const split = splitByModel(tensors);
    const factors: Record<string, Tensor> = {};
    for (const { component, layers } of this.#parts)
      for (const layer of layers)
        for (const role of ["lora_A", "lora_B"])
          factors[`${peftName(component, layer)}.${role}.weight`] = split[component][`${layer}.${role}.weight`]!;
    await restoreFile(join(folder, fileOf(LORA_FILE, suffix)), factors, what);
    if (!this.#models.extended) return;
    const convIn = Object.fromEntries(CONV_IN.map((name) => [name, split.unet[name]!]));
    await restoreFile(join(folder, fileOf(CONV_IN_FILE, suffix)), convIn, `the first convolution of ${what}`);
  }
}

function fileOf(name: string, suffix: Suffix): string {
  return name.replace(/(\.safetensors)$/, `${suffix}$1`);
}

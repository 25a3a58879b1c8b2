import { join } from "node:path";
import { checkPipeline, slotsOf } from "../../../components/description.js";
import type { ComponentClass } from "../../../components/model-index.js";
import { registeredClass } from "../../../components/registry.js";
import { copiedComponent, type SavedComponent } from "../../../components/save.js";
import { listFiles } from "../../../files/list-files.js";
import { sha256OfFiles } from "../../../files/sha256.js";
import { resolvePretrained } from "../../../hub/index.js";
import { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { ModelOptions } from "../../../models/pretrained.js";
import { type InputChannels, UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import { STABLE_DIFFUSION_SLOTS, type StableDiffusionComponents } from "../../../pipelines/components.js";
import { SCHEDULER_CONFIG } from "../../../schedulers/registry.js";
import type { Scheduler } from "../../../schedulers/scheduler.js";
import type { CLIPTokenizer } from "../../../tokenizer/clip_tokenizer.js";
import { BASE, type BaseLocation, type BaseSource, type KeptComponent } from "./base-source.js";

/** A base model in a folder as diffusers saves it; frozen components are copied byte for byte where possible. */
export class FolderSource implements BaseSource {
  readonly tokenizer: CLIPTokenizer;
  readonly scheduler: Scheduler;
  readonly schedulerPath: string;
  readonly #folder: string;
  readonly #location: BaseLocation;

  private constructor(folder: string, location: BaseLocation, { tokenizer, scheduler }: StableDiffusionComponents) {
    this.#folder = folder;
    this.#location = location;
    this.tokenizer = tokenizer;
    this.scheduler = scheduler;
    this.schedulerPath = join(this.#path("scheduler"), SCHEDULER_CONFIG);
  }

  /** Finds the folder, which is downloaded from the hub if necessary. */
  static async open(location: BaseLocation): Promise<FolderSource> {
    const { variant, cacheDir, signal, revision, hubToken: token } = location;
    const components = slotsOf(BASE).map(([, slot]) => slot.folder);
    const checkConfigs = (folder: string) => checkPipeline(BASE, folder);
    const files = { revision, variant, cacheDir, token, signal, components, checkConfigs };
    const folder = await resolvePretrained(location.pretrainedModelNameOrPath, files);
    const { ready } = await checkPipeline(BASE, folder);
    return new FolderSource(folder, location, ready as StableDiffusionComponents);
  }

  loadTextEncoder(options: ModelOptions): Promise<CLIPTextModel> {
    return CLIPTextModel.fromPretrained(this.#path("textEncoder"), this.#ofVariant(options));
  }

  loadAutoencoder(options: ModelOptions): Promise<AutoencoderKL> {
    return AutoencoderKL.fromPretrained(this.#path("vae"), this.#ofVariant(options));
  }

  /** The reference loads the UNet with a separate revision option and never as a variant. */
  async loadUNet(channels: InputChannels, options: ModelOptions) {
    const { pretrainedModelNameOrPath, nonEmaRevision: revision, cacheDir, signal, hubToken: token } = this.#location;
    const { folder: part } = STABLE_DIFFUSION_SLOTS.unet;
    const folder =
      revision === undefined
        ? this.#folder
        : await resolvePretrained(pretrainedModelNameOrPath, { revision, cacheDir, token, signal, components: [part] });
    return UNet2DConditionModel.fromPretrainedExtended(join(folder, part), channels, options);
  }

  kept(component: KeptComponent): SavedComponent {
    const classes: Record<KeptComponent, ComponentClass> = {
      vae: registeredClass("AutoencoderKL"),
      textEncoder: registeredClass("CLIPTextModel"),
      tokenizer: registeredClass("CLIPTokenizer"),
      scheduler: { library: "diffusers", className: this.scheduler.className },
    };
    return copiedComponent(classes[component], this.#path(component), this.#location.variant);
  }

  async contents(components: readonly KeptComponent[]): Promise<string[]> {
    const lines: string[] = [];
    for (const component of components) {
      const folder = this.#path(component);
      const files = (await listFiles(folder)).filter((name) => /\.(json|txt|safetensors)$/.test(name));
      const digests = await sha256OfFiles(files.map((name) => join(folder, name)));
      const part = STABLE_DIFFUSION_SLOTS[component].folder;
      lines.push(...files.map((name, i) => `${part}/${name} ${JSON.stringify(digests[i])}`));
    }
    return lines;
  }

  #path(component: keyof StableDiffusionComponents): string {
    return join(this.#folder, STABLE_DIFFUSION_SLOTS[component].folder);
  }

  #ofVariant(options: ModelOptions): ModelOptions {
    return { ...options, variant: this.#location.variant };
  }
}

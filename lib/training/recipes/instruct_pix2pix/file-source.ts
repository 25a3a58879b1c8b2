import { createHash } from "node:crypto";
import { type SavedComponent, savedComponent } from "../../../components/save.js";
import { sha256OfFiles } from "../../../files/sha256.js";
import { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import { CLIPTextModel } from "../../../models/clip_text_model.js";
import type { ModelOptions } from "../../../models/pretrained.js";
import { type InputChannels, UNet2DConditionModel } from "../../../models/unet_2d_condition.js";
import type { StableDiffusionParts } from "../../../pipelines/components.js";
import { type CheckedSingleFile, checkSingleFile } from "../../../single-file/check.js";
import { componentOf, storedDType } from "../../../single-file/file.js";
import type { BaseLocation, BaseSource, KeptComponent, KeptModel } from "../base-source.js";
import { BASE } from "./base.js";

/** Models of which training may keep the base model's. */
const MODELS = { vae: AutoencoderKL, textEncoder: CLIPTextModel } as const;

/** A base model in a single file in the original layout. */
export class FileSource implements BaseSource<StableDiffusionParts> {
  readonly ready: StableDiffusionParts;
  readonly schedulerPath: string;
  readonly #checked: CheckedSingleFile<StableDiffusionParts>;

  private constructor(checked: CheckedSingleFile<StableDiffusionParts>) {
    this.#checked = checked;
    this.ready = checked.ready as StableDiffusionParts;
    this.schedulerPath = checked.configFolder ?? checked.file.path;
  }

  static async open(location: BaseLocation): Promise<FileSource> {
    const { pretrainedModelNameOrPath: path, config, revision, cacheDir, hubToken: token, signal } = location;
    return new FileSource(await checkSingleFile(BASE, path, { config, revision, cacheDir, token, signal }));
  }

  async load<K extends KeptModel<StableDiffusionParts>>(component: K, options: ModelOptions) {
    const model = await MODELS[component].fromSingleFile(this.#path, this.#configured(options));
    return model as StableDiffusionParts[K];
  }

  loadUNet(channels: InputChannels, options: ModelOptions) {
    return UNet2DConditionModel.fromSingleFileExtended(this.#path, channels, this.#configured(options));
  }

  /** Models are read once more, since the ones in training may be of a narrower type. */
  kept(component: KeptComponent<StableDiffusionParts>): SavedComponent {
    if (component === "tokenizer" || component === "scheduler") return savedComponent(component, this.ready[component]);
    const Model = MODELS[component];
    const { library, kind: className } = Model.description;
    const dtype = storedDType(componentOf(this.#checked.file, Model.singleFile.component));
    return {
      library,
      className,
      write: async (folder) => {
        using model = await Model.fromSingleFile(this.#path, this.#configured({ dtype }));
        await model.savePretrained(folder);
      },
    };
  }

  async contents(components: readonly KeptComponent<StableDiffusionParts>[]): Promise<string[]> {
    const [digest] = await sha256OfFiles([this.#path]);
    const configs = components.map((component) => {
      if (component !== "tokenizer") return `${component} ${JSON.stringify(this.#checked.configs[component])}`;
      const hash = createHash("sha256");
      for (const [name, content] of this.ready.tokenizer.contents)
        hash.update(`\n${name} ${content.length}\n`).update(content);
      return `tokenizer ${hash.digest("hex")}`;
    });
    return [`file ${JSON.stringify(digest)}`, ...configs];
  }

  get #path(): string {
    return this.#checked.file.path;
  }

  #configured(options: ModelOptions) {
    return { ...options, config: this.#checked.configFolder };
  }
}

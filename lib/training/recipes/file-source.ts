import { createHash } from "node:crypto";
import { type PipelineConfigs, type PipelineDescription, slotsOf } from "../../components/description.js";
import type { GivenComponents } from "../../components/load.js";
import { type SavedComponent, savedComponent } from "../../components/save.js";
import { sha256OfFiles } from "../../files/sha256.js";
import type { ModelOptions } from "../../models/pretrained.js";
import { type InputChannels, UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import { type CheckedSingleFile, checkSingleFile } from "../../single-file/check.js";
import { componentOf, storedDType } from "../../single-file/file.js";
import { CLIPTokenizer } from "../../tokenizer/clip_tokenizer.js";
import type { BaseComponents, BaseLocation, BaseSource, KeptComponent, KeptModel } from "./base-source.js";
import { KEPT_MODELS } from "./kept-models.js";

/** A base model in a single file in the original layout. */
export class FileSource<C extends BaseComponents> implements BaseSource<C> {
  readonly ready: Partial<C> & Pick<C, "scheduler">;
  readonly schedulerPath: string;
  readonly #description: PipelineDescription<C>;
  readonly #checked: CheckedSingleFile<C>;

  private constructor(description: PipelineDescription<C>, checked: CheckedSingleFile<C>) {
    this.#description = description;
    this.#checked = checked;
    this.ready = checked.ready as FileSource<C>["ready"];
    this.schedulerPath = checked.configFolder ?? checked.file.path;
  }

  static async open<C extends BaseComponents>(
    description: PipelineDescription<C>,
    location: BaseLocation,
  ): Promise<FileSource<C>> {
    const { pretrainedModelNameOrPath: path, config, revision, cacheDir, hubToken: token, signal } = location;
    const given = {} as GivenComponents<C>;
    const checked = await checkSingleFile(description, path, { ...given, config, revision, cacheDir, token, signal });
    return new FileSource(description, checked);
  }

  get configs(): PipelineConfigs<C> {
    return this.#checked.configs;
  }

  async load<K extends KeptModel<C>>(component: K, options: ModelOptions): Promise<C[K]> {
    return (await modelClass(component).fromSingleFile(this.#path, this.#configured(options))) as unknown as C[K];
  }

  loadUNet(channels: InputChannels, options: ModelOptions) {
    return UNet2DConditionModel.fromSingleFileExtended(this.#path, channels, this.#configured(options));
  }

  /** Models are read once more, since the ones in training may be of a narrower type. */
  kept(component: KeptComponent<C>): SavedComponent {
    if (component in this.ready) return savedComponent(component, this.ready[component]);
    const Model = modelClass(component);
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

  async contents(components: readonly KeptComponent<C>[]): Promise<string[]> {
    const [digest] = await sha256OfFiles([this.#path]);
    const described = components.map((component) => {
      const part = this.ready[component];
      const [, { folder }] = slotsOf(this.#description).find(([name]) => name === component)!;
      if (!(part instanceof CLIPTokenizer)) return `${folder} ${JSON.stringify(this.configs[component])}`;
      const hash = createHash("sha256");
      for (const [name, content] of part.contents) hash.update(`\n${name} ${content.length}\n`).update(content);
      return `${folder} ${hash.digest("hex")}`;
    });
    return [`file ${JSON.stringify(digest)}`, ...described];
  }

  get #path(): string {
    return this.#checked.file.path;
  }

  #configured(options: ModelOptions) {
    return { ...options, config: this.#checked.configFolder };
  }
}

function modelClass(component: string) {
  return KEPT_MODELS[component as keyof typeof KEPT_MODELS];
}

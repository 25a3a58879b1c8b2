import { join } from "node:path";
import {
  type CheckedPipeline,
  checkPipeline,
  type PipelineConfigs,
  type PipelineDescription,
  slotsOf,
} from "../../components/description.js";
import type { ComponentClass } from "../../components/model-index.js";
import { registeredClass } from "../../components/registry.js";
import { copiedComponent, type SavedComponent } from "../../components/save.js";
import { listFiles } from "../../files/list-files.js";
import { sha256OfFiles } from "../../files/sha256.js";
import { resolvePretrained } from "../../hub/index.js";
import type { ModelOptions } from "../../models/pretrained.js";
import { type InputChannels, UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import { SCHEDULER_CONFIG } from "../../schedulers/registry.js";
import type { BaseComponents, BaseLocation, BaseSource, KeptComponent, KeptModel } from "./base-source.js";

/** A base model in a folder as diffusers saves it; frozen components are copied byte for byte where possible. */
export class FolderSource<C extends BaseComponents> implements BaseSource<C> {
  readonly ready: Partial<C> & Pick<C, "scheduler">;
  readonly #description: PipelineDescription<C>;
  readonly #checked: CheckedPipeline<C>;
  readonly #location: BaseLocation;

  private constructor(description: PipelineDescription<C>, checked: CheckedPipeline<C>, location: BaseLocation) {
    this.#description = description;
    this.#checked = checked;
    this.#location = location;
    this.ready = checked.ready as FolderSource<C>["ready"];
  }

  /** Finds the folder, which is downloaded from the hub if necessary. */
  static async open<C extends BaseComponents>(
    description: PipelineDescription<C>,
    location: BaseLocation,
  ): Promise<FolderSource<C>> {
    const { variant, cacheDir, signal, revision, hubToken: token } = location;
    const components = slotsOf(description).map(([, slot]) => slot.folder);
    const checkConfigs = (folder: string) => checkPipeline(description, folder);
    const files = { revision, variant, cacheDir, token, signal, components, checkConfigs };
    const folder = await resolvePretrained(location.pretrainedModelNameOrPath, files);
    return new FolderSource(description, await checkPipeline(description, folder), location);
  }

  get configs(): PipelineConfigs<C> {
    return this.#checked.configs;
  }

  get schedulerPath(): string {
    return join(this.#path("scheduler"), SCHEDULER_CONFIG);
  }

  async load<K extends KeptModel<C>>(component: K, options: ModelOptions): Promise<C[K]> {
    const { folder, modelClass } = this.#checked.models.find(({ name }) => name === component)!;
    return (await modelClass.load(folder, { ...options, variant: this.#location.variant })) as C[K];
  }

  /** As the reference's scripts do, with a revision of its own; as a variant only if the options say so. */
  async loadUNet(channels: InputChannels, options: ModelOptions) {
    const { pretrainedModelNameOrPath, nonEmaRevision: revision, cacheDir, signal, hubToken: token } = this.#location;
    const part = this.#folder("unet");
    const folder =
      revision === undefined
        ? this.#checked.folder
        : await resolvePretrained(pretrainedModelNameOrPath, { revision, cacheDir, token, signal, components: [part] });
    return UNet2DConditionModel.fromPretrainedExtended(join(folder, part), channels, options);
  }

  kept(component: KeptComponent<C>): SavedComponent {
    const { className } = this.ready.scheduler;
    const saved: ComponentClass =
      component === "scheduler"
        ? { library: "diffusers", className }
        : registeredClass(this.#slot(component).classes[0]!);
    return copiedComponent(saved, this.#path(component), this.#location.variant);
  }

  async contents(components: readonly KeptComponent<C>[]): Promise<string[]> {
    const lines: string[] = [];
    for (const component of components)
      lines.push(...(await contentsOf(this.#path(component), this.#folder(component))));
    return lines;
  }

  #slot(component: keyof C) {
    return slotsOf(this.#description).find(([name]) => name === component)![1];
  }

  #folder(component: keyof C): string {
    return this.#slot(component).folder;
  }

  #path(component: keyof C): string {
    return join(this.#checked.folder, this.#folder(component));
  }
}

/** A line for each file of a component's folder, with its hash. */
export async function contentsOf(folder: string, component: string): Promise<string[]> {
  const files = (await listFiles(folder)).filter((name) => /\.(json|txt|safetensors)$/.test(name));
  const digests = await sha256OfFiles(files.map((name) => join(folder, name)));
  return files.map((name, i) => `${component}/${name} ${JSON.stringify(digests[i])}`);
}

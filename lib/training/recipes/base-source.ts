import type { PipelineConfigs } from "../../components/description.js";
import type { SavedComponent } from "../../components/save.js";
import type { AutoencoderKL } from "../../models/autoencoder_kl.js";
import type { ModelOptions, PretrainedModel } from "../../models/pretrained.js";
import type { InputChannels, UNet2DConditionModel } from "../../models/unet_2d_condition.js";
import type { Scheduler } from "../../schedulers/scheduler.js";

/** The options of training that say where the base model is. */
export interface BaseLocation {
  /** A folder, an id on the hub, or a single file in the original layout. */
  pretrainedModelNameOrPath: string;
  /** For a single file: where its configurations are. */
  config?: string | undefined;
  revision?: string | undefined;
  variant?: string | undefined;
  nonEmaRevision?: string | undefined;
  cacheDir?: string | undefined;
  hubToken?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** What every base model has. */
export interface BaseComponents {
  vae: AutoencoderKL;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
}

/** The components that training may leave as they are. */
export type KeptComponent<C> = Exclude<
  { [K in keyof C]-?: NonNullable<C[K]> extends object ? K : never }[keyof C],
  "unet"
> &
  string;

/** Those of them with weights. */
export type KeptModel<C> = {
  [K in KeptComponent<C>]: C[K] extends Pick<PretrainedModel<object>, "format"> ? K : never;
}[KeptComponent<C>];

/** Where a base model's components come from: they fit together, and weights are not read yet. */
export interface BaseSource<C extends BaseComponents> {
  /** The components without weights, and settings. */
  readonly ready: Partial<C> & Pick<C, "scheduler">;
  readonly configs: PipelineConfigs<C>;
  /** What the scheduler's settings are from, for messages. */
  readonly schedulerPath: string;
  load<K extends KeptModel<C>>(component: K, options: ModelOptions): Promise<C[K]>;
  /** Loads the UNet, with the input channels that it lacks. */
  loadUNet(channels: InputChannels, options: ModelOptions): Promise<{ unet: UNet2DConditionModel; extended: boolean }>;
  /** A component of the base model, in its own type, for the saved pipeline. */
  kept(component: KeptComponent<C>): SavedComponent;
  /** Lines that tell the content of components from any other. */
  contents(components: readonly KeptComponent<C>[]): Promise<string[]>;
}

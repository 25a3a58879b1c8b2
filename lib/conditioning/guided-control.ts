import { Scope } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import type { ControlNetModel, ControlNetOutput } from "../models/controlnet.js";
import { UNetCache } from "../models/unet-cache.js";
import type { AddedConditions } from "../models/unet-conditions.js";
import { type GuidanceRow, sharedRows } from "./guidance.js";

/** A ControlNet of a run. */
export interface Control {
  net: ControlNetModel;
  /** [count,C,H,W], in the net's type and on its device. */
  picture: Tensor;
  /** What its residuals are multiplied by. */
  scale: number;
  /** The first and the last fraction of the steps in which it counts. */
  start: number;
  end: number;
}

/** The ControlNets of a run. The images stay the caller's. */
export interface Controls {
  nets: readonly Control[];
  /** Weighs residuals by their depth and controls only the rows with the prompt. */
  guessMode: boolean;
}

/** What a UNet gets in a step, whose residuals are asked for. */
export interface ControlledPass {
  /** [count,C,h,w] */
  latents: Tensor;
  timestep: number;
  /** [rows · count,T,D] */
  embeddings: Tensor;
  /** [rows · count,…] each */
  added: AddedConditions;
  /** For each net what its residuals are multiplied by; 0 leaves it out. */
  scales: readonly number[];
  signal?: AbortSignal | undefined;
}

/** What each net's residuals are multiplied by in a step: its scale, or 0 before its start and after its end. */
export function controlScales({ nets }: Controls, step: number, totalSteps: number): number[] {
  return nets.map(({ scale, start, end }) => (step / totalSteps < start || (step + 1) / totalSteps > end ? 0 : scale));
}

/** ControlNets with their conditions for all rows of guidance, and the caches that the steps of a run share. */
export class GuidedControl implements Disposable {
  readonly #controls: Controls;
  readonly #count: number;
  readonly #caches: readonly UNetCache[];
  /** The only row that is controlled, among how many; undefined if all are. */
  readonly #only: { row: number; rows: number } | undefined;
  readonly #sampleRows: readonly number[] | undefined;
  /** Conditions of that row alone, by what they are a part of. */
  readonly #parts = new Map<string, { whole: Tensor; part: Tensor }>();

  constructor(
    controls: Controls,
    { rows, count, timesteps }: { rows: readonly GuidanceRow[]; count: number; timesteps: readonly number[] },
  ) {
    this.#controls = controls;
    this.#count = count;
    this.#caches = controls.nets.map(() => new UNetCache(timesteps));
    const guided = rows.length > 1;
    const row = rows.findIndex(({ text, image }) => text && image);
    this.#only = controls.guessMode && guided ? { row, rows: rows.length } : undefined;
    this.#sampleRows = guided && !this.#only ? sharedRows(rows, count).sampleRows : undefined;
  }

  /** The sum of the nets' residuals, which belongs to the caller; undefined if none counts in this step. */
  async residuals(pass: ControlledPass): Promise<ControlNetOutput | undefined> {
    const { latents, timestep, scales, signal } = pass;
    const embeddings = await this.#ofRows("embeddings", pass.embeddings);
    let sum: ControlNetOutput | undefined;
    for (const [i, { net, picture }] of this.#controls.nets.entries()) {
      // Residuals of 0 change nothing.
      if (scales[i] === 0) continue;
      const others = sum;
      using scope = new Scope();
      for (const tensor of tensorsOf(others)) scope.add(tensor);
      sum = await net.forward(latents, timestep, embeddings, picture, {
        conditioningScale: scales[i],
        guessMode: this.#controls.guessMode,
        cache: this.#caches[i]!,
        zeroRows: this.#zeroRows(),
        residuals: others,
        // Nets that take none may guide a UNet that does.
        ...(net.config.addition_embed_type !== null && { addedConditions: await this.#added(pass.added) }),
        ...(this.#sampleRows && { sampleRows: this.#sampleRows }),
        ...(signal && { signal }),
      });
    }
    return sum;
  }

  /** The UNet's rows that are not controlled. */
  #zeroRows(): readonly [number, number] | undefined {
    if (!this.#only) return undefined;
    const { row, rows } = this.#only;
    return [row * this.#count, (rows - 1 - row) * this.#count];
  }

  async #added(added: AddedConditions): Promise<AddedConditions> {
    const own: AddedConditions = {};
    for (const [name, tensor] of Object.entries(added))
      if (tensor) own[name as keyof AddedConditions] = await this.#ofRows(name, tensor);
    return own;
  }

  /** The part of a condition for the rows that are controlled; the same tensor in every step, so that caches know it. */
  async #ofRows(name: string, whole: Tensor): Promise<Tensor> {
    if (!this.#only) return whole;
    const known = this.#parts.get(name);
    if (known?.whole === whole) return known.part;
    known?.part.dispose();
    const { row } = this.#only;
    const part = await whole.slice(0, row * this.#count, (row + 1) * this.#count);
    this.#parts.set(name, { whole, part });
    return part;
  }

  [Symbol.dispose](): void {
    for (const cache of this.#caches) cache.dispose();
    for (const { part } of this.#parts.values()) part.dispose();
  }
}

/** The tensors of residuals. */
export function tensorsOf(output: ControlNetOutput | undefined): readonly Tensor[] {
  return output ? [...output.downBlockResSamples, output.midBlockResSample] : [];
}

import { Tensor } from "../core/tensor.js";
import type { PretrainedModel } from "../models/pretrained.js";
import type { NativePlacedAdapter } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";
import type { AdapterFactors } from "./adapter.js";

/** How much an adapter counts in a layer, by the weight's name. */
export type WeightOf = (name: string) => number;

/** An adapter in use. */
export interface UsedAdapter {
  name: string;
  weightOf: WeightOf;
}

/** A model's adapters, and which of them count how much. */
export interface AdapterState {
  adapters: ReadonlyMap<string, AdapterFactors>;
  active: readonly UsedAdapter[];
  enabled: boolean;
  /** Those that are part of the weights until they are unfused. */
  fused: readonly UsedAdapter[];
}

export const NO_ADAPTERS: AdapterState = { adapters: new Map(), active: [], enabled: true, fused: [] };

interface Term {
  name: string;
  up: Tensor;
  down: Tensor;
  scale: number;
}

const models = new WeakMap<PretrainedModel<unknown>, AdaptedModel>();

/**
 * A model whose weights are their originals plus what active adapters add. Of each weight that adapters change, the original is
 * kept, so that it comes back bit for bit. Other adapters are placed beside the weights, for the passes that ask for them, and so
 * are the active ones of a model with 8-bit weights. Pipelines that share a model share its adapters.
 */
export class AdaptedModel {
  readonly model: PretrainedModel<unknown>;
  #state = NO_ADAPTERS;
  /** The original values of the weights that are changed now. */
  readonly #originals = new Map<string, Tensor>();
  /** What was added to them, to leave alone what stays. */
  readonly #added = new Map<string, string>();
  /** What is beside the weights. */
  #placed = JSON.stringify([]);

  private constructor(model: PretrainedModel<unknown>) {
    this.model = model;
  }

  static of(model: PretrainedModel<unknown>): AdaptedModel {
    const known = models.get(model) ?? new AdaptedModel(model);
    models.set(model, known);
    return known;
  }

  get state(): AdapterState {
    return this.#state;
  }

  /** Changes the weights to those of a state, all or, if it throws, none. */
  async become(state: AdapterState): Promise<void> {
    const before = this.#state;
    await this.#place(state);
    try {
      await this.#change(state);
    } catch (error) {
      await this.#place(before);
      throw error;
    }
    this.#state = state;
    this.model.weightGuard.unfused = state.enabled ? unfused(state).map(({ name }) => name) : [];
  }

  async #place(state: AdapterState): Promise<void> {
    const adapters = placedOf(state, this.#isQuantized);
    const placed = JSON.stringify(
      adapters.map(({ terms, ...rest }) => [rest, terms.map(({ name, scale }) => [name, scale])]),
    );
    if (placed === this.#placed) return;
    await native().placeModelAdapters(this.model.handle, adapters);
    this.#placed = placed;
  }

  get #isQuantized(): boolean {
    return this.model.quantization !== "none";
  }

  async #change(state: AdapterState): Promise<void> {
    const wanted = this.#isQuantized ? new Map<string, Term[]>() : termsOf(state);
    const changes = [];
    for (const name of new Set([...wanted.keys(), ...this.#originals.keys()])) {
      const terms = wanted.get(name) ?? [];
      if (described(terms) === (this.#added.get(name) ?? "")) continue;
      changes.push({
        name,
        original: this.#originals.get(name)?.handle ?? null,
        terms: terms.map(({ up, down, scale }) => ({ up: up.handle, down: down.handle, scale })),
      });
    }
    if (changes.length > 0) {
      const originals = await native().changeModelWeights(this.model.handle, changes);
      for (const [i, { name, terms }] of changes.entries()) {
        this.#originals.get(name)?.dispose();
        const original = new Tensor(originals[i]!);
        if (terms.length > 0) {
          this.#originals.set(name, original);
          this.#added.set(name, described(wanted.get(name)!));
        } else {
          original.dispose();
          this.#originals.delete(name);
          this.#added.delete(name);
        }
      }
    }
  }

  /** Makes the weights with their fused adapters the originals. */
  keepFused(): void {
    for (const original of this.#originals.values()) original.dispose();
    this.#originals.clear();
    this.#added.clear();
  }
}

/** The active adapters that are not fused. */
export function unfused({ active, fused }: AdapterState): UsedAdapter[] {
  return active.filter(({ name }) => !fused.some((other) => other.name === name));
}

function termsOf(state: AdapterState): Map<string, Term[]> {
  const terms = new Map<string, Term[]>();
  for (const { name, weightOf } of [...state.fused, ...(state.enabled ? unfused(state) : [])])
    for (const [weight, { up, down, scale }] of state.adapters.get(name) ?? []) {
      const factor = scale * weightOf(weight);
      if (factor === 0) continue;
      const all = terms.get(weight) ?? [];
      all.push({ name, up, down, scale: factor });
      terms.set(weight, all);
    }
  return terms;
}

function placedOf(state: AdapterState, isQuantized: boolean): NativePlacedAdapter[] {
  const place = (name: string, weightOf: WeightOf | undefined): NativePlacedAdapter => ({
    ...{ name, byRow: weightOf === undefined },
    terms: [...(state.adapters.get(name) ?? [])]
      .map(([weight, { up, down, scale }]) => ({
        ...{ name: weight, up: up.handle, down: down.handle },
        scale: scale * (weightOf?.(weight) ?? 1),
      }))
      .filter(({ scale }) => scale !== 0),
  });
  const used = [...state.active, ...state.fused].map(({ name }) => name);
  const others = [...state.adapters.keys()].filter((name) => !used.includes(name));
  const counting = isQuantized && state.enabled ? unfused(state) : [];
  return [
    ...others.map((name) => place(name, undefined)),
    ...counting.map(({ name, weightOf }) => place(name, weightOf)),
  ];
}

/** Equal for terms that give the same weight. */
function described(terms: readonly Term[]): string {
  return terms.map(({ name, scale }) => `${JSON.stringify(name)}·${scale}`).join(" + ");
}

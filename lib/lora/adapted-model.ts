import { Tensor } from "../core/tensor.js";
import type { PretrainedModel } from "../models/pretrained.js";
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
 * A model whose weights are their originals plus what adapters add. Of each weight that adapters change, the original is
 * kept, so that it comes back bit for bit. Pipelines that share a model share its adapters.
 */
export class AdaptedModel {
  readonly model: PretrainedModel<unknown>;
  #state = NO_ADAPTERS;
  /** The original values of the weights that are changed now. */
  readonly #originals = new Map<string, Tensor>();
  /** What was added to them, to leave alone what stays. */
  readonly #added = new Map<string, string>();

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
    const wanted = termsOf(state);
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
    this.#state = state;
    this.model.weightGuard.unfused = state.enabled ? unfused(state).map(({ name }) => name) : [];
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

/** Equal for terms that give the same weight. */
function described(terms: readonly Term[]): string {
  return terms.map(({ name, scale }) => `${JSON.stringify(name)}·${scale}`).join(" + ");
}

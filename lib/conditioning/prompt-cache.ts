import { Scope } from "../core/scope.js";
import { disposeAll, Tensor } from "../core/tensor.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import {
  type EncodingOptions,
  encodeLastStates,
  encodePenultimate,
  encodePrompts,
  type LastStates,
  type PenultimateStates,
  type TextParts,
} from "./prompt.js";

/** Number of cached prompts; at 77 tokens × 768 values each takes a quarter of a megabyte. */
const CAPACITY = 64;

/**
 * An LRU cache of prompt embeddings, for repeated prompts and for the empty prompt, which every edit needs. Bypassed
 * for a text encoder whose weights may change.
 */
export class PromptCache {
  #encoder: CLIPTextModel | undefined;
  #tokenizer: CLIPTokenizer | undefined;
  /** The version of the encoder's weights. */
  #version = 0;
  /** What an encoder gives for a prompt. Least recently used first. */
  readonly #rows = new Map<string, readonly Tensor[]>();

  /**
   * The prompt embeddings: the text encoder's last hidden state.
   *
   * @returns [B,T,D] in the text encoder's type
   */
  async encode(prompts: readonly string[], parts: TextParts, options: EncodingOptions = {}): Promise<Tensor> {
    const [embeddings] = await this.#cached("last", prompts, parts, options, async (missing) => [
      await encodePrompts(missing, parts, options),
    ]);
    return embeddings!;
  }

  /** As {@link encodePenultimate}. */
  async encodePenultimate(
    prompts: readonly string[],
    parts: TextParts,
    options: EncodingOptions = {},
  ): Promise<PenultimateStates> {
    const [embeddings, pooled] = await this.#cached("penultimate", prompts, parts, options, async (missing) => {
      const states = await encodePenultimate(missing, parts, options);
      return states.pooled ? [states.embeddings, states.pooled] : [states.embeddings];
    });
    return { embeddings: embeddings!, pooled };
  }

  /** As {@link encodeLastStates}. */
  async encodeLastStates(
    prompts: readonly string[],
    parts: TextParts,
    options: Pick<EncodingOptions, "length" | "signal"> = {},
  ): Promise<LastStates> {
    const [embeddings, pooled] = await this.#cached("unnormed", prompts, parts, options, async (missing) => {
      const states = await encodeLastStates(missing, parts, options);
      return [states.embeddings, states.pooled];
    });
    return { embeddings: embeddings!, pooled: pooled! };
  }

  /**
   * @param kind of what is encoded
   * @param encode gives tensors with one row for each prompt
   */
  async #cached(
    kind: string,
    prompts: readonly string[],
    { textEncoder, tokenizer, adapterWeights = [] }: TextParts,
    { length, skippedLayers }: EncodingOptions,
    encode: (prompts: readonly string[]) => Promise<Tensor[]>,
  ): Promise<Tensor[]> {
    if (textEncoder.weightsMayChange) return await encode(prompts);
    const { version } = textEncoder.weightGuard;
    if (textEncoder !== this.#encoder || tokenizer !== this.#tokenizer || version !== this.#version) this.clear();
    [this.#encoder, this.#tokenizer, this.#version] = [textEncoder, tokenizer, version];

    using scope = new Scope();
    const key = (prompt: string) =>
      [kind, length ?? "", skippedLayers ?? 0, JSON.stringify(adapterWeights), prompt].join("\0");
    const rows = new Map<string, readonly Tensor[]>();
    /** Separate handles, since another run may evict an entry. */
    const use = async (prompt: string, entry: readonly Tensor[]) => {
      const own: Tensor[] = [];
      for (const row of entry) own.push(scope.add(await row.clone()));
      rows.set(prompt, own);
    };
    const missing: string[] = [];
    for (const prompt of new Set(prompts)) {
      const known = this.#rows.get(key(prompt));
      if (!known) {
        missing.push(prompt);
        continue;
      }
      this.#rows.delete(key(prompt));
      this.#rows.set(key(prompt), known);
      await use(prompt, known);
    }
    if (missing.length > 0) {
      const encoded = await encode(missing);
      for (const tensor of encoded) scope.add(tensor);
      for (const [i, prompt] of missing.entries()) {
        const entry: Tensor[] = [];
        for (const tensor of encoded) entry.push(await tensor.slice(0, i, i + 1));
        await use(prompt, entry);
        if (this.#encoder === textEncoder && this.#tokenizer === tokenizer && this.#version === version)
          this.#remember(key(prompt), entry);
        else disposeAll(...entry);
      }
    }
    const kinds = rows.get(prompts[0]!)!.length;
    const joined: Tensor[] = [];
    for (let i = 0; i < kinds; i++)
      joined.push(
        await Tensor.cat(
          prompts.map((prompt) => rows.get(prompt)![i]!),
          0,
        ),
      );
    return joined;
  }

  clear(): void {
    for (const entry of this.#rows.values()) disposeAll(...entry);
    this.#rows.clear();
  }

  #remember(key: string, entry: readonly Tensor[]): void {
    disposeAll(...(this.#rows.get(key) ?? []));
    this.#rows.delete(key);
    this.#rows.set(key, entry);
    if (this.#rows.size <= CAPACITY) return;
    const [oldest, forgotten] = this.#rows.entries().next().value!;
    this.#rows.delete(oldest);
    disposeAll(...forgotten);
  }
}

import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import type { CLIPTextModel } from "../models/clip_text_model.js";
import type { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import { type EncodingOptions, encodePrompts, type TextParts } from "./prompt.js";

/** Number of cached prompts; at 77 tokens × 768 values each takes a quarter of a megabyte. */
const CAPACITY = 64;

/**
 * An LRU cache of prompt embeddings, for repeated prompts and for the empty prompt, which every edit needs. Bypassed
 * for a text encoder whose weights may change.
 */
export class PromptCache {
  #encoder: CLIPTextModel | undefined;
  #tokenizer: CLIPTokenizer | undefined;
  /** Least recently used first. */
  readonly #rows = new Map<string, Tensor>();

  /**
   * The prompt embeddings: the text encoder's last hidden state.
   *
   * @returns [B,T,D] in the text encoder's type
   */
  async encode(prompts: readonly string[], parts: TextParts, options: EncodingOptions = {}): Promise<Tensor> {
    const { length, skippedLayers } = options;
    const { textEncoder, tokenizer } = parts;
    if (textEncoder.weightsMayChange) return await encodePrompts(prompts, parts, options);
    if (textEncoder !== this.#encoder || tokenizer !== this.#tokenizer) this.clear();
    [this.#encoder, this.#tokenizer] = [textEncoder, tokenizer];

    using scope = new Scope();
    const key = (prompt: string) => `${length ?? ""}\0${skippedLayers ?? 0}\0${prompt}`;
    const rows = new Map<string, Tensor>();
    const missing: string[] = [];
    for (const prompt of new Set(prompts)) {
      const known = this.#rows.get(key(prompt));
      if (!known) {
        missing.push(prompt);
        continue;
      }
      this.#rows.delete(key(prompt));
      this.#rows.set(key(prompt), known);
      // A separate handle, since another run may evict the entry.
      rows.set(prompt, scope.add(await known.clone()));
    }
    if (missing.length > 0) {
      using encoded = await encodePrompts(missing, parts, options);
      for (const [i, prompt] of missing.entries()) {
        const row = await encoded.slice(0, i, i + 1);
        rows.set(prompt, scope.add(await row.clone()));
        if (this.#encoder === textEncoder && this.#tokenizer === tokenizer) this.#remember(key(prompt), row);
        else row.dispose();
      }
    }
    return await Tensor.cat(
      prompts.map((prompt) => rows.get(prompt)!),
      0,
    );
  }

  clear(): void {
    for (const row of this.#rows.values()) row.dispose();
    this.#rows.clear();
  }

  #remember(key: string, row: Tensor): void {
    this.#rows.get(key)?.dispose();
    this.#rows.delete(key);
    this.#rows.set(key, row);
    if (this.#rows.size <= CAPACITY) return;
    const [oldest, forgotten] = this.#rows.entries().next().value!;
    this.#rows.delete(oldest);
    forgotten.dispose();
  }
}

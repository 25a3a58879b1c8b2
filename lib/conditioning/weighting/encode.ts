import { throwIfAborted } from "../../core/errors.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import { warnOnce } from "../../core/warn.js";
import type { CLIPTokenizer } from "../../tokenizer/clip_tokenizer.js";
import { type ChunkedPrompt, chunkFragments } from "./chunks.js";
import { parseWeightedPrompt, type WeightedFragment } from "./flatten.js";

/** A text encoder as weighting sees it. */
export interface TokenEncoder {
  readonly tokenizer: CLIPTokenizer;
  /** Tokens of a row. */
  readonly length: number;
  /** Embeddings [B,T,D] of ids [B,T]; where the mask [B,T] is 0, a token is not attended to. */
  encode(ids: Tensor, mask: Tensor | undefined): Promise<Tensor>;
}

export interface WeightingOptions {
  /** Leaves out what does not fit into one row; else a prompt has as many rows of tokens as it needs, one behind the other. */
  truncateLongPrompts: boolean;
  signal?: AbortSignal | undefined;
}

/** Rows that are encoded at once. */
const BATCH = 16;
/** What a weight of 0 counts as, whose share would be infinite. */
const LEAST_WEIGHT = 1e-5;

/**
 * Embeddings of prompts in Compel's grammar (see `parseWeightedPrompt`). A token's embedding z becomes
 * empty + (z − empty) · weight. A fragment below 1 is faded out as well: the embeddings are averaged with those of the
 * prompt in which that fragment is masked, whose share is tan((1 − weight) · π / 2).
 *
 * @returns [B,n·T,D], shorter prompts filled up with embeddings of the empty one
 * @throws `ERR_INVALID_ARGUMENT` as `parseWeightedPrompt`, `ERR_ABORTED`
 */
export async function encodeWeightedPrompts(
  prompts: readonly string[],
  encoder: TokenEncoder,
  options: WeightingOptions,
): Promise<Tensor> {
  const parsed = prompts.map(parseWeightedPrompt);
  for (const { unheeded } of parsed)
    for (const what of unheeded) warnOnce(`a weighted prompt asks for what an embedding cannot give: ${what}`);
  using scope = new Scope();
  const weighting = new Weighting(encoder, options, scope);
  const rows: Tensor[] = [];
  for (const { parts, weights } of parsed) {
    const encoded: Tensor[] = [];
    for (const [i, part] of parts.entries()) {
      const embedding =
        part.kind === "prompt"
          ? await weighting.prompt(part.fragments)
          : await weighting.blend(part.prompts, part.weights, part.normalize);
      encoded.push(await weighting.towardsEmpty(embedding, weights[i]!));
    }
    rows.push(scope.add(await Tensor.cat(encoded, 1)));
  }
  return await Tensor.cat(await weighting.padded(rows), 0);
}

/** The arithmetic of one call; everything that it makes belongs to its scope. */
class Weighting {
  readonly #encoder: TokenEncoder;
  readonly #options: WeightingOptions;
  readonly #scope: Scope;
  #empty: Promise<Tensor> | undefined;

  constructor(encoder: TokenEncoder, options: WeightingOptions, scope: Scope) {
    this.#encoder = encoder;
    this.#options = options;
    this.#scope = scope;
  }

  /** The embeddings [1,T,D] of the empty prompt. */
  #emptyPrompt(): Promise<Tensor> {
    return (this.#empty ??= this.#encoded([this.#chunks([]).chunks[0]!.ids], undefined).then(([row]) => row!));
  }

  #chunks(fragments: readonly WeightedFragment[]): ChunkedPrompt {
    const { tokenizer, length } = this.#encoder;
    return chunkFragments(fragments, tokenizer, { length, truncate: this.#options.truncateLongPrompts });
  }

  /** [1,n·T,D] */
  async prompt(fragments: readonly WeightedFragment[]): Promise<Tensor> {
    const { chunks, ranges } = this.#chunks(fragments);
    const faded = fragments.flatMap(({ weight }, i) => {
      const range = ranges[i];
      return weight < 1 && range ? [{ weight, mask: this.#maskWithout(range, chunks.length) }] : [];
    });
    const ids = chunks.map((chunk) => chunk.ids);
    const tokenWeights = chunks.flatMap(({ weights }) => weights);
    const whole = await this.#weighted(ids, tokenWeights, undefined);
    if (faded.length === 0) return whole;
    const shares = [1, ...faded.map(({ weight }) => Math.tan((1 - Math.max(LEAST_WEIGHT, weight)) * (Math.PI / 2)))];
    const embeddings = [whole];
    for (const { mask } of faded) embeddings.push(await this.#weighted(ids, tokenWeights, mask));
    return this.#average(embeddings, shares, true);
  }

  /** 0 at the tokens of a fragment and what lies between them, but not at the markers of chunks. */
  #maskWithout([first, last]: readonly [number, number], chunks: number): number[][] {
    const { length } = this.#encoder;
    return Array.from({ length: chunks }, (_, chunk) =>
      Array.from({ length }, (_, i) => {
        const at = chunk * length + i;
        const isMarker = !this.#options.truncateLongPrompts && (i === 0 || i === length - 1);
        return at >= first && at <= last && !isMarker ? 0 : 1;
      }),
    );
  }

  async #weighted(
    ids: readonly (readonly number[])[],
    weights: readonly number[],
    mask: readonly (readonly number[])[] | undefined,
  ): Promise<Tensor> {
    const rows = await this.#encoded(ids, mask);
    const joined = this.#scope.add(await Tensor.cat(rows, 1));
    if (weights.every((weight) => weight === 1)) return joined;
    using local = new Scope();
    const column = async (values: readonly number[]) =>
      local.add(
        await local.add(Tensor.from(values, [1, values.length, 1])).to({ dtype: joined.dtype, device: joined.device }),
      );
    const empty = local.add(await (await this.#emptyPrompt()).repeat([1, ids.length, 1]));
    const away = local.add(await joined.sub(empty));
    const scaled = local.add(await away.mul(await column(weights)));
    const moved = local.add(await empty.add(scaled));
    // Tokens of weight 1 keep their bits.
    const kept = local.add(await joined.mul(await column(weights.map((weight) => Number(weight === 1)))));
    const changed = local.add(await moved.mul(await column(weights.map((weight) => Number(weight !== 1)))));
    return this.#scope.add(await kept.add(changed));
  }

  /** The embeddings [1,T,D] of each row of ids. */
  async #encoded(
    ids: readonly (readonly number[])[],
    mask: readonly (readonly number[])[] | undefined,
  ): Promise<Tensor[]> {
    const rows: Tensor[] = [];
    for (let start = 0; start < ids.length; start += BATCH) {
      throwIfAborted(this.#options.signal);
      using local = new Scope();
      const batch = (table: readonly (readonly number[])[]) => {
        const part = table.slice(start, start + BATCH);
        return local.add(Tensor.from(BigInt64Array.from(part.flat(), BigInt), [part.length, this.#encoder.length]));
      };
      const output = local.add(await this.#encoder.encode(batch(ids), mask && batch(mask)));
      for (let i = 0; i < output.shape[0]!; i++) rows.push(this.#scope.add(await output.slice(0, i, i + 1)));
    }
    return rows;
  }

  async #average(embeddings: readonly Tensor[], shares: readonly number[], normalize: boolean): Promise<Tensor> {
    const sum = normalize ? shares.reduce((total, share) => total + share, 0) : 1;
    return this.#scope.add(
      await Tensor.linearCombination(embeddings.map((embedding, i) => [shares[i]! / sum, embedding] as const)),
    );
  }

  async blend(
    prompts: readonly (readonly WeightedFragment[])[],
    weights: readonly number[],
    normalize: boolean,
  ): Promise<Tensor> {
    const embeddings: Tensor[] = [];
    for (const fragments of prompts) embeddings.push(await this.prompt(fragments));
    return this.#average(await this.padded(embeddings), weights, normalize);
  }

  /** A part of a conjunction in its weight: empty + (embedding − empty) · weight. */
  async towardsEmpty(embedding: Tensor, weight: number): Promise<Tensor> {
    if (weight === 1) return embedding;
    const [empty] = await this.padded([await this.#emptyPrompt(), embedding]);
    return this.#scope.add(
      await Tensor.linearCombination([
        [1 - weight, empty!],
        [weight, embedding],
      ]),
    );
  }

  /** All as long as the longest. */
  async padded(embeddings: readonly Tensor[]): Promise<Tensor[]> {
    const longest = Math.max(...embeddings.map(({ shape }) => shape[1]!));
    const padded: Tensor[] = [];
    for (const embedding of embeddings) {
      const missing = (longest - embedding.shape[1]!) / this.#encoder.length;
      if (missing === 0) padded.push(embedding);
      else {
        const filling = this.#scope.add(await (await this.#emptyPrompt()).repeat([1, missing, 1]));
        padded.push(this.#scope.add(await Tensor.cat([embedding, filling], 1)));
      }
    }
    return padded;
  }
}

import { InstructPix2PixError } from "../../core/errors.js";
import type { CLIPTokenizer } from "../../tokenizer/clip_tokenizer.js";
import type { WeightedFragment } from "./flatten.js";

/** A row of token ids as the text encoder takes it, and the weight of each. */
export interface Chunk {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
}

/** A prompt in chunks, and the positions in all of them together, from the first token to the last, of each fragment. */
export interface ChunkedPrompt {
  readonly chunks: readonly Chunk[];
  /** Undefined for a fragment without tokens, or one that was cut off whole. */
  readonly ranges: readonly (readonly [first: number, last: number] | undefined)[];
}

export interface ChunkOptions {
  /** Tokens of a chunk, its two markers included. */
  readonly length: number;
  /** Whether there is only one, and what does not fit is left out. */
  readonly truncate: boolean;
}

/**
 * Tokenises fragments one by one and lays the ids out in chunks of one length, each between a start and an end marker and
 * padded. Where a text goes on in the next chunk, it is split behind the last full stop that fits, else behind the last
 * comma, semicolon or colon, else behind the last word.
 *
 * @throws `ERR_TOKENIZER` without a padding token
 */
export function chunkFragments(
  fragments: readonly WeightedFragment[],
  tokenizer: CLIPTokenizer,
  { length, truncate }: ChunkOptions,
): ChunkedPrompt {
  const { bosTokenId, eosTokenId, padTokenId } = tokenizer;
  if (padTokenId === null)
    throw new InstructPix2PixError("ERR_TOKENIZER", "prompt weighting needs a tokenizer with a padding token");
  const room = length - 2;
  const tokens = fragments.map(({ text }) => withoutMarkers(tokenizer.encode(text)[0]!, tokenizer));
  const ids = tokens.flat();
  const weights = fragments.flatMap(({ weight }, i) => tokens[i]!.map(() => weight));
  const chunks: Chunk[] = [];
  /** Where each token of the prompt came to lie. */
  const positions: number[] = [];
  let start = 0;
  do {
    const count = truncate ? Math.min(room, ids.length) : chunkEnd(ids, start, room, tokenizer) - start;
    const begin = chunks.length * length + 1;
    for (let i = 0; i < count; i++) positions.push(begin + i);
    const rest = room - count;
    chunks.push({
      ids: [bosTokenId, ...ids.slice(start, start + count), eosTokenId, ...Array<number>(rest).fill(padTokenId)],
      weights: [1, ...weights.slice(start, start + count), 1, ...Array<number>(rest).fill(1)],
    });
    start += count;
  } while (!truncate && start < ids.length);

  let before = 0;
  const ranges = tokens.map(({ length: count }): [number, number] | undefined => {
    const first = positions[before];
    // The end marker lies behind a fragment that was cut.
    const last = positions[before + count - 1] ?? length - 1;
    before += count;
    return count === 0 || first === undefined ? undefined : [first, last];
  });
  return { chunks, ranges };
}

function withoutMarkers(ids: readonly number[], { bosTokenId, eosTokenId }: CLIPTokenizer): readonly number[] {
  return ids.slice(ids[0] === bosTokenId ? 1 : 0, ids.at(-1) === eosTokenId ? -1 : undefined);
}

/** Where the tokens of a chunk end that begins at `start`. */
function chunkEnd(ids: readonly number[], start: number, room: number, tokenizer: CLIPTokenizer): number {
  if (ids.length - start <= room) return ids.length;
  const tokens = tokenizer.tokensOf(ids.slice(start, start + room));
  for (const isEnd of [
    (token = "") => token === ".</w>",
    (token = "") => [".</w>", ",</w>", ";</w>", ":</w>"].includes(token),
    (token = "") => token.endsWith("</w>"),
  ]) {
    const last = tokens.findLastIndex((token) => isEnd(token));
    if (last >= 0) return start + last + 1;
  }
  return start + room;
}

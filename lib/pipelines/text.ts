import { encodePrompt } from "../conditioning/encode-prompt.js";
import type { GuidanceRow } from "../conditioning/guidance.js";
import type { TextParts } from "../conditioning/prompt.js";
import type { PromptCache } from "../conditioning/prompt-cache.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import type { PromptCall } from "./call.js";
import type { FiniteChecks } from "./finite.js";
import type { Placement } from "./latents.js";

/** A call's prompts as embeddings, one row for each image. */
export class TextEmbeddings implements Disposable {
  /** [B·n,T,D] */
  readonly positive: Tensor;
  /** [B·n,T,D]; undefined without guidance. */
  readonly negative: Tensor | undefined;

  constructor(positive: Tensor, negative: Tensor | undefined) {
    this.positive = positive;
    this.negative = negative;
  }

  /**
   * The embeddings of several rows of guidance, one behind the other.
   *
   * @param rows whether each is the prompts' or the negative prompts'
   * @returns [rows · B·n,T,D]
   */
  async ofRows(rows: readonly Pick<GuidanceRow, "text">[]): Promise<Tensor> {
    const parts = rows.map(({ text }) => (text ? this.positive : this.negative!));
    return parts.length === 1 ? await parts[0]!.clone() : await Tensor.cat(parts, 0);
  }

  /**
   * One row for each image, of one row for each prompt.
   *
   * @param positive stays the caller's, as does `negative`
   */
  static async perPicture(
    positive: Tensor,
    negative: Tensor | undefined,
    { numImagesPerPrompt, device, dtype }: Placement & { numImagesPerPrompt: number },
  ): Promise<TextEmbeddings> {
    const repeated = async (embeddings: Tensor) => {
      using placed = await embeddings.to({ device, dtype });
      return await placed.repeatInterleave(numImagesPerPrompt, 0);
    };
    const rows = await repeated(positive);
    try {
      return new TextEmbeddings(rows, negative && (await repeated(negative)));
    } catch (error) {
      rows.dispose();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.positive.dispose();
    this.negative?.dispose();
  }
}

export interface TextOptions extends TextParts, Placement {
  cache: PromptCache;
  finite: FiniteChecks;
  /** Whether negative prompts are needed. */
  guided: boolean;
  numImagesPerPrompt: number;
  /** Last layers that are left out for the prompts; negative prompts take all of them, as in diffusers. Default 0. */
  clipSkip?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Encodes the prompts of a call, and its negative prompts if it is guided.
 *
 * @throws `ERR_INVALID_ARGUMENT` if given embeddings differ in shape, or for a weighted prompt without meaning;
 *   `ERR_NOT_FINITE`, `ERR_ABORTED`
 */
export async function encodeText(call: PromptCall, options: TextOptions): Promise<TextEmbeddings> {
  using scope = new Scope();
  const { guided, finite } = options;
  const encoded = call.promptWeighting === "none" ? await plain(call, options) : await weighted(call, options);
  for (const tensor of [encoded.positive, encoded.negative]) if (tensor) scope.add(tensor);
  const { positive, negative } = encoded;
  if (!call.promptEmbeds) await finite.textEmbeddings(positive);
  if (!guided || !negative) return await TextEmbeddings.perPicture(positive, undefined, options);
  if (!call.negativePromptEmbeds) await finite.textEmbeddings(negative);
  checkSameShape({ promptEmbeds: positive, negativePromptEmbeds: negative });
  return await TextEmbeddings.perPicture(positive, negative, options);
}

/**
 * Refuses embeddings that differ in shape.
 *
 * @param pair two tensors by the names of their options
 */
export function checkSameShape(pair: Readonly<Record<string, Tensor>>): void {
  const [[one, { shape: a }], [other, { shape: b }]] = Object.entries(pair) as [[string, Tensor], [string, Tensor]];
  if (a.join() !== b.join())
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${one} [${a}] and ${other} [${b}] differ in shape`);
}

interface Encoded {
  /** [B,T,D] */
  positive: Tensor;
  negative: Tensor | undefined;
}

/** One negative prompt for each prompt; the empty one if none is given. */
function negativeTexts({ negatives = [""], batch }: PromptCall): readonly string[] {
  return forEachPrompt(negatives, batch);
}

/** One text for each prompt, of that many or of one for all. */
export function forEachPrompt(texts: readonly string[], batch: number): readonly string[] {
  return texts.length === batch ? texts : Array<string>(batch).fill(texts[0]!);
}

async function plain(call: PromptCall, options: TextOptions): Promise<Encoded> {
  const { cache, guided, clipSkip: skippedLayers, signal } = options;
  const positive = call.promptEmbeds
    ? await call.promptEmbeds.clone()
    : await cache.encode(call.prompts!, options, { skippedLayers, signal });
  if (!guided) return { positive, negative: undefined };
  try {
    // Given embeddings may have fewer tokens than an encoded prompt.
    const length = positive.shape[1];
    const negative = call.negativePromptEmbeds
      ? await call.negativePromptEmbeds.clone()
      : await cache.encode(negativeTexts(call), options, { length, signal });
    return { positive, negative };
  } catch (error) {
    positive.dispose();
    throw error;
  }
}

/** Refuses what cannot be combined with weighted prompts. @throws `ERR_INVALID_ARGUMENT` */
export function checkWeighting(
  call: Pick<PromptCall, "promptWeighting" | "promptEmbeds" | "negativePromptEmbeds">,
  { clipSkip }: Pick<TextOptions, "clipSkip">,
): void {
  if (call.promptWeighting === "none") return;
  if (call.promptEmbeds || call.negativePromptEmbeds)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      "promptWeighting is for prompts in words; promptEmbeds are taken as they are",
    );
  if (clipSkip)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "clipSkip cannot be combined with promptWeighting");
}

/** Prompts with weights may be several rows of tokens long, so both kinds are encoded together, to one length. */
async function weighted(call: PromptCall, options: TextOptions): Promise<Encoded> {
  const { guided, signal } = options;
  const prompts = call.prompts!;
  const texts = guided ? [...prompts, ...negativeTexts(call)] : prompts;
  const { promptWeighting } = call;
  const { promptEmbeds } = await encodePrompt(options, texts, { promptWeighting, signal });
  if (!guided) return { positive: promptEmbeds, negative: undefined };
  using both = promptEmbeds;
  using positive = await both.slice(0, 0, prompts.length);
  using negative = await both.slice(0, prompts.length, texts.length);
  return { positive: await positive.clone(), negative: await negative.clone() };
}

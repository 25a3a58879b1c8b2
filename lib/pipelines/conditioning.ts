import { ALONE, combineRows, type GuidanceRow, sharedRows } from "../conditioning/guidance.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { UNetCache } from "../models/unet-cache.js";
import type { DeepFeatures } from "../runtime/contract/index.js";

/** The conditioning of the UNet: rows of guidance with their text and image latents, and the cache shared by the steps. */
export class Conditioning implements Disposable {
  readonly #rows: readonly GuidanceRow[];
  readonly #embeddings: Tensor;
  readonly #imageLatents: Tensor;
  readonly #count: number;
  readonly #inputs: number;
  readonly #sampleRows: readonly number[];
  readonly #timesteps: readonly number[];
  readonly #cache: UNetCache;

  /**
   * @param rows of guidance, for each of the `count` pictures
   * @param embeddings [rows · count,T,D]
   * @param imageLatents [inputs · count,C,h,w], for the inputs of {@link sharedRows}
   * @param timesteps of the run
   */
  constructor(
    rows: readonly GuidanceRow[],
    count: number,
    embeddings: Tensor,
    imageLatents: Tensor,
    timesteps: readonly number[],
  ) {
    this.#rows = rows;
    this.#count = count;
    this.#embeddings = embeddings;
    this.#imageLatents = imageLatents;
    this.#timesteps = timesteps;
    this.#cache = new UNetCache(timesteps);
    const { images, sampleRows } = sharedRows(rows, count);
    this.#inputs = images.length;
    this.#sampleRows = sampleRows;
  }

  /** The same without guidance: only the first row, with text and picture. */
  async withoutGuidance(): Promise<Conditioning> {
    const [embeddings, imageLatents] = await Promise.all(
      [this.#embeddings, this.#imageLatents].map((tensor) => tensor.slice(0, 0, this.#count)),
    );
    return new Conditioning(ALONE, this.#count, embeddings!, imageLatents!, this.#timesteps);
  }

  /**
   * The guided prediction for latents [count,C,h,w].
   *
   * @param deepFeatures as in `UNet2DConditionModel.forward`
   */
  async predict(
    unet: UNet2DConditionModel,
    latents: Tensor,
    timestep: number,
    options: { deepFeatures: DeepFeatures; signal?: AbortSignal },
  ): Promise<Tensor> {
    using scope = new Scope();
    const repeated = scope.add(await latents.repeat([this.#inputs, 1, 1, 1]));
    const input = scope.add(await Tensor.cat([repeated, this.#imageLatents], 1));
    const reused = { sampleRows: this.#sampleRows, cache: this.#cache };
    const prediction = scope.add(await unet.forward(input, timestep, this.#embeddings, { ...reused, ...options }));
    return await combineRows(prediction, this.#rows);
  }

  [Symbol.dispose](): void {
    for (const part of [this.#embeddings, this.#imageLatents, this.#cache]) part.dispose();
  }
}

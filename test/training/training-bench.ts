import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import type { AttentionBackend } from "../../lib/runtime/contract/index.js";
import type { TrainerOptions } from "../../lib/training/parameter-trainer.js";
import { type MicroBatch, Trainer } from "../../lib/training/trainer.js";

export interface BenchShape {
  /** Rows of a batch. */
  batch?: number;
  /** Edge of the latents. */
  side?: number;
  attention?: AttentionBackend;
}

/** A trainer of the UNet of a model folder, and random batches for it. */
export class TrainingBench implements Disposable {
  readonly trainer: Trainer;
  readonly #batch: number;
  readonly #side: number;

  private constructor(trainer: Trainer, { batch = 4, side = 8 }: BenchShape) {
    this.trainer = trainer;
    this.#batch = batch;
    this.#side = side;
  }

  static async open(
    model: string,
    options: Partial<TrainerOptions> = {},
    shape: BenchShape = {},
  ): Promise<TrainingBench> {
    // A copy, for weights may be mapped from the file.
    const folder = mkdtempSync(join(tmpdir(), "ip2p-bench-"));
    try {
      cpSync(join(model, "unet"), folder, { recursive: true });
      const unet = await UNet2DConditionModel.fromPretrained(folder, { attention: shape.attention ?? "auto" });
      const trainer = await Trainer.create(unet, {
        adamBeta1: 0.9,
        adamBeta2: 0.999,
        adamEpsilon: 1e-8,
        adamWeightDecay: 1e-2,
        optimizer: "adamw",
        useEma: false,
        gradientCheckpointing: false,
        shadowWeights: false,
        mixedPrecision: null,
        ...options,
      });
      return new TrainingBench(trainer, shape);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** The batch that belongs to a number. */
  async batch(seed: number): Promise<MicroBatch> {
    const { config } = this.trainer.unet;
    const generator = new Generator("cpu", seed);
    const [B, S] = [this.#batch, this.#side];
    return {
      sample: await Tensor.randn([B, config.in_channels, S, S], { generator }),
      timesteps: await Tensor.randint(0, 1000, [B], { generator }),
      conditions: {
        embeddings: await Tensor.randn([B, 7, config.cross_attention_dim as number], { generator }),
      },
      target: await Tensor.randn([B, config.out_channels, S, S], { generator }),
    };
  }

  /** One micro-step with the batch that belongs to a number. → its loss */
  async accumulate(seed: number, factor = 1): Promise<number> {
    using loss = await this.trainer.accumulate(await this.batch(seed), factor);
    return loss.item();
  }

  /** SHA-256 of weights, optimizer and EMA weights by name. */
  async everything(): Promise<Record<string, string>> {
    const hashes: Record<string, string> = {};
    const all = {
      weights: await this.trainer.unet.stateDict(),
      optimizer: await this.trainer.optimizerState(),
      ema: await this.trainer.emaState(),
    };
    for (const [group, tensors] of Object.entries(all))
      for (const [name, tensor] of Object.entries(tensors)) {
        const { buffer, byteOffset, byteLength } = await tensor.toArray();
        hashes[`${group}.${name}`] = createHash("sha256")
          .update(new Uint8Array(buffer, byteOffset, byteLength))
          .digest("hex");
      }
    return hashes;
  }

  [Symbol.dispose](): void {
    this.trainer.dispose();
    this.trainer.unet.dispose();
  }
}

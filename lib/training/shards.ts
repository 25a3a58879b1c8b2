import { InstructPix2PixError } from "../core/errors.js";
import { Tensor } from "../core/tensor.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { cancellable, native } from "../runtime/native.js";
import { disposeRecord } from "./named-tensors.js";
import type { Trainer } from "./trainer.js";

type Which = "optimizer" | "ema";

/** A tensor that one process holds. */
interface Held {
  rank: number;
  name: string;
  shape: readonly number[];
  dtype: Tensor["dtype"];
}

/** Where the parts of a trainer are that several processes share (ZeRO-1), so that rank 0 can gather them. */
export class Shards {
  readonly #group: ProcessGroup;
  readonly #trainer: Trainer;
  readonly #held: Record<Which, readonly Held[]>;

  private constructor(group: ProcessGroup, trainer: Trainer, held: Record<Which, readonly Held[]>) {
    this.#group = group;
    this.#trainer = trainer;
    this.#held = held;
  }

  /** All processes call it, once their trainers are made. */
  static async agree(group: ProcessGroup, trainer: Trainer): Promise<Shards> {
    const mine: Partial<Record<Which, Omit<Held, "rank">[]>> = {};
    for (const which of ["optimizer", "ema"] as const) {
      const tensors = await stateOf(trainer, which);
      mine[which] = Object.entries(tensors).map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
      disposeRecord(tensors);
    }
    const texts = await group.gather("parts", JSON.stringify(mine));
    const all = await group.share(async () => texts!);
    const of = (which: Which) => {
      const named = new Set<string>();
      return all
        .flatMap((text, rank) => (JSON.parse(text) as typeof mine)[which]!.map((each) => ({ ...each, rank })))
        .filter(({ name }) => !named.has(name) && named.add(name));
    };
    return new Shards(group, trainer, { optimizer: of("optimizer"), ema: of("ema") });
  }

  /**
   * All processes call it. Tensor by tensor, so that the others need no memory for it.
   *
   * @returns at rank 0 the whole record, its own tensors and copies of the others'; undefined elsewhere
   * @throws `ERR_DISTRIBUTED`, `ERR_ABORTED`
   */
  async gather(which: Which, signal: AbortSignal | undefined): Promise<Record<string, Tensor> | undefined> {
    const { rank, isMain, native: group } = this.#group;
    const mine = await stateOf(this.#trainer, which);
    const whole: Record<string, Tensor> = Object.create(null);
    let received: Tensor | undefined;
    try {
      for (const { rank: owner, name, shape, dtype } of this.#held[which]) {
        received = undefined;
        if (owner !== rank) received = await Tensor.zeros(shape, { dtype, device: this.#trainer.unet.device });
        const tensor = received ?? mine[name];
        if (!tensor) throw new InstructPix2PixError("ERR_INTERNAL", `${name} is not here`);
        await cancellable(signal, (token) => native().groupBroadcast(group!, tensor.handle, owner, token));
        if (isMain) whole[name] = tensor;
        else received?.dispose();
      }
    } catch (error) {
      received?.dispose();
      disposeRecord(whole);
      disposeRecord(mine);
      throw error;
    }
    if (isMain) return whole;
    disposeRecord(mine);
    return undefined;
  }

  /** Runs `body` at rank 0 with the EMA weights in the model; the others lend theirs, and do not wait for its end. */
  async withEma<T>(signal: AbortSignal | undefined, body: () => Promise<T>): Promise<T | undefined> {
    const whole = await this.gather("ema", signal);
    if (!whole) return undefined;
    try {
      await this.#trainer.borrowEma(whole);
      return await this.#trainer.withEma(body);
    } finally {
      await this.#trainer.giveEmaBack();
      disposeRecord(whole);
    }
  }
}

function stateOf(trainer: Trainer, which: Which): Promise<Record<string, Tensor>> {
  return which === "ema" ? trainer.emaState() : trainer.optimizerState();
}

import { createHash } from "node:crypto";
import { InstructPix2PixError } from "../core/errors.js";
import { Generator } from "../core/generator.js";
import { Tensor } from "../core/tensor.js";
import { countBatches, type Deal, dealByBucket, dealInOrder } from "./deal.js";

/** Source of an epoch's order. */
export interface PermutationSource {
  /** The seed of an epoch's permutation; called once, at the start of the epoch. */
  seedOf(epoch: number): Promise<bigint>;
  /** The permutation of 0 … `length − 1` for a seed. */
  permute(seed: bigint, length: number): Promise<Uint32Array>;
}

/** Position of a run in its data: enough to continue with the next batch without replaying earlier ones. */
export interface EpochOrderState {
  /** Finished epochs. */
  readonly epoch: number;
  /** Places of the running epoch's permutation that all processes together have been given. */
  readonly cursor: number;
  /** The seed of the running epoch's permutation in decimal digits; null before its first batch is asked for. */
  readonly permutationSeed: string | null;
  /** Rows of the dataset. */
  readonly length: number;
  /** With buckets, how batches are dealt: in the midst of an epoch only the same division goes on. */
  readonly division?: Division;
}

/** Rows of a batch of one process, and the processes. A type, since it is part of a checkpoint's JSON. */
export type Division = { readonly batchSize: number; readonly worldSize: number };

/** One batch of one process. */
export interface OrderedBatch {
  readonly epoch: number;
  /** Number of this batch among those that this process is given in the epoch, from 0. */
  readonly index: number;
  /** Whether the epoch ends with it. */
  readonly last: boolean;
  /** Rows of the dataset. */
  readonly rows: number[];
  /** Where to go on after this batch, however far ahead the order itself may be. */
  readonly next: EpochOrderState;
}

export interface EpochOrderOptions {
  /** Rows of the dataset. */
  length: number;
  /** Rows of a batch of one process. */
  batchSize: number;
  source: PermutationSource;
  /** This process, from 0. Default 0. */
  rank?: number;
  /** How many processes share the epoch. Default 1. */
  worldSize?: number;
  /** The epoch to start with. Default 0. */
  epoch?: number;
  /** The bucket of each row: batches are of rows of one bucket. Default all are of the same one. */
  buckets?: ArrayLike<number> | undefined;
}

/**
 * The rows of the dataset in the order of training: in every epoch each once, permuted anew.
 *
 * Several processes take batches in turn, as accelerate's `BatchSamplerShard` deals them: all get equally many, and full
 * ones, for which the beginning of the permutation is used once more. With one process the last batch is as short as
 * what is left. With buckets the same holds of each bucket.
 */
export class EpochOrder {
  readonly #length: number;
  readonly #batchSize: number;
  readonly #rank: number;
  readonly #worldSize: number;
  readonly #source: PermutationSource;
  readonly #buckets: ArrayLike<number> | undefined;
  #epoch: number;
  #cursor = 0;
  #seed: bigint | undefined;
  #deal: Deal | undefined;

  /** @throws `ERR_INVALID_ARGUMENT` for a length, batch size, rank or epoch that is impossible. */
  constructor({ length, batchSize, source, rank = 0, worldSize = 1, epoch = 0, buckets }: EpochOrderOptions) {
    const atLeast = (name: string, value: number, least: number) => {
      if (!Number.isSafeInteger(value) || value < least)
        throw new InstructPix2PixError(
          "ERR_INVALID_ARGUMENT",
          `${name} is a whole number of at least ${least}, not ${value}`,
        );
    };
    atLeast("length", length, 1);
    atLeast("batchSize", batchSize, 1);
    atLeast("worldSize", worldSize, 1);
    atLeast("rank", rank, 0);
    atLeast("epoch", epoch, 0);
    if (rank >= worldSize)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `there is no rank ${rank} among ${worldSize} processes`);
    this.#length = length;
    this.#batchSize = batchSize;
    this.#source = source;
    this.#rank = rank;
    this.#worldSize = worldSize;
    this.#epoch = epoch;
    this.#buckets = buckets;
  }

  /**
   * Goes on where `state` says; batch size and number of processes may have changed, with buckets only between epochs.
   *
   * @throws `ERR_CHECKPOINT` if the state is malformed, or belongs to another number of rows or to batches of buckets that are no more.
   */
  static fromJSON(state: unknown, options: Omit<EpochOrderOptions, "epoch">): EpochOrder {
    const { epoch, cursor, permutationSeed, length } = checkState(state, options);
    const order = new EpochOrder({ ...options, length, epoch });
    order.#cursor = cursor;
    order.#seed = permutationSeed === null ? undefined : BigInt(permutationSeed);
    return order;
  }

  /** Finished epochs. */
  get epoch(): number {
    return this.#epoch;
  }

  /** See {@link EpochOrderState.cursor}. */
  get cursor(): number {
    return this.#cursor;
  }

  /** Batches that each process is given in a whole epoch. */
  get batchesPerEpoch(): number {
    const dealt = this.#batchSize * this.#worldSize;
    return this.#buckets ? countBatches(this.#buckets, dealt) : Math.ceil(this.#length / dealt);
  }

  /** Draws the running epoch's permutation, unless that is done; otherwise its first batch does so. */
  async begin(): Promise<void> {
    this.#seed ??= await this.#source.seedOf(this.#epoch);
    if (this.#deal) return;
    const permutation = await this.#source.permute(this.#seed, this.#length);
    const dealt = this.#batchSize * this.#worldSize;
    this.#deal = this.#buckets ? dealByBucket(permutation, this.#buckets, dealt) : dealInOrder(permutation, dealt);
  }

  /** The next batch; after an epoch's last one that of the next epoch. One call at a time. */
  async next(): Promise<OrderedBatch> {
    await this.begin();
    const start = this.#cursor;
    const batch = this.#deal!.at(start);
    if (!batch)
      throw new InstructPix2PixError(
        "ERR_CHECKPOINT",
        `the position in the data cannot be restored: no batch of a bucket begins after ${start} rows`,
      );
    const { index, end } = batch;
    const first = this.#rank * this.#batchSize;
    const count = this.#worldSize === 1 ? end - start : this.#batchSize;
    const rows = Array.from({ length: count }, (_, i) => batch.row(first + i));
    const epoch = this.#epoch;
    const last = end === this.#length;
    if (last) {
      this.#epoch += 1;
      this.#cursor = 0;
      this.#seed = undefined;
      this.#deal = undefined;
    } else this.#cursor = end;
    return { epoch, index, last, rows, next: this.toJSON() };
  }

  /** What is left of the running epoch. */
  async *restOfEpoch(): AsyncGenerator<OrderedBatch, void, undefined> {
    for (;;) {
      const batch = await this.next();
      yield batch;
      if (batch.last) return;
    }
  }

  /** Batches without end, epoch after epoch. */
  async *batches(): AsyncGenerator<OrderedBatch, never, undefined> {
    for (;;) yield await this.next();
  }

  toJSON(): EpochOrderState {
    return {
      epoch: this.#epoch,
      cursor: this.#cursor,
      permutationSeed: this.#seed === undefined ? null : String(this.#seed),
      length: this.#length,
      ...(this.#buckets && { division: { batchSize: this.#batchSize, worldSize: this.#worldSize } }),
    };
  }
}

/**
 * Permutations from the run's seed and the epoch alone, so that any epoch can be entered without going through those
 * before it.
 */
export function seededPermutations(seed: number | bigint): PermutationSource {
  return {
    async seedOf(epoch) {
      const digest = createHash("sha256").update(`permutation of epoch ${epoch}, seed ${seed}`).digest();
      // 63 bits, as torch's own draws of a seed have.
      return digest.readBigUInt64LE(0) >> 1n;
    },
    permute: torchPermutation,
  };
}

/** Groups whose rows are mixed with one another. */
const MIXED_GROUPS = 4;

/**
 * Permutations from the run's seed and the epoch alone, in which rows of a group are near one another: groups are permuted, and
 * of each few that follow one another the rows, as WebDataset shuffles shards and then samples in a buffer.
 *
 * @param group of a row
 */
export function groupedPermutations(seed: number | bigint, group: (row: number) => number): PermutationSource {
  return {
    seedOf: seededPermutations(seed).seedOf,
    async permute(seed, length) {
      const generator = new Generator("cpu", seed);
      const rowsOf = new Map<number, number[]>();
      for (let row = 0; row < length; row++) {
        const rows = rowsOf.get(group(row));
        if (rows) rows.push(row);
        else rowsOf.set(group(row), [row]);
      }
      const groups = [...rowsOf.values()];
      const order = await drawnPermutation(generator, groups.length);
      const permutation = new Uint32Array(length);
      let end = 0;
      for (let first = 0; first < groups.length; first += MIXED_GROUPS) {
        const rows = [...order.subarray(first, first + MIXED_GROUPS)].flatMap((which) => groups[which]!);
        for (const i of await drawnPermutation(generator, rows.length)) permutation[end++] = rows[i]!;
      }
      return permutation;
    },
  };
}

/**
 * Permutations as PyTorch's DataLoader draws them from torch's global generator: at the start of every epoch one number
 * that would seed its workers, and one that seeds the generator of the permutation.
 */
export function drawnPermutations(generator: Generator): PermutationSource {
  return {
    async seedOf() {
      await generator.randomInt64();
      return generator.randomInt64();
    },
    permute: torchPermutation,
  };
}

/**
 * Permutations as several processes of accelerate draw them: a number of torch's global generator seeds one that lives as
 * long as the run; every epoch draws one number of the global generator, which would seed the data loader's workers, and
 * two permutations, of which the second, drawn when the first is used up, is dropped.
 */
export async function sharedPermutations(generator: Generator): Promise<PermutationSource> {
  const shared = new Generator("cpu", await generator.randomInt64());
  return {
    seedOf: () => generator.randomInt64(),
    async permute(_, length) {
      const permutation = await drawnPermutation(shared, length);
      await drawnPermutation(shared, length);
      return permutation;
    },
  };
}

/** `torch.randperm(length)` under a generator of its own. */
function torchPermutation(seed: bigint, length: number): Promise<Uint32Array> {
  return drawnPermutation(new Generator("cpu", seed), length);
}

async function drawnPermutation(generator: Generator, length: number): Promise<Uint32Array> {
  const permutation = await Tensor.randperm(length, { generator });
  try {
    return Uint32Array.from((await permutation.toArray()) as BigInt64Array, Number);
  } finally {
    permutation.dispose();
  }
}

function checkState(
  state: unknown,
  { length, buckets, batchSize, worldSize = 1 }: Omit<EpochOrderOptions, "epoch">,
): EpochOrderState {
  const { epoch, cursor, permutationSeed, length: rows, division } = (state ?? {}) as Partial<Record<string, unknown>>;
  const broken = (what: string) =>
    new InstructPix2PixError("ERR_CHECKPOINT", `the position in the data cannot be restored: ${what}`);
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!isCount(rows)) throw broken("the number of rows is missing");
  if (rows !== length) throw broken(`it belongs to a dataset of ${rows} rows, and this one has ${length}`);
  if (!isCount(epoch)) throw broken("the epoch is missing");
  if (!isCount(cursor) || cursor >= rows) throw broken("the cursor is missing or out of range");
  if (permutationSeed !== null && !(typeof permutationSeed === "string" && /^\d{1,20}$/.test(permutationSeed)))
    throw broken("the permutation's seed is missing");
  if (permutationSeed === null && cursor > 0) throw broken("the permutation's seed is missing");
  if (cursor > 0 && (division !== undefined || buckets)) {
    const before = (division ?? {}) as Partial<Division>;
    if (!buckets || before.batchSize !== batchSize || before.worldSize !== worldSize)
      throw broken(
        "in the midst of an epoch the batches of aspect-ratio buckets need the same trainBatchSize and number of processes",
      );
  }
  return { epoch, cursor, permutationSeed: permutationSeed as string | null, length: rows };
}

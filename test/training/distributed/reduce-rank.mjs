// One of several processes that make three optimizer steps of two micro-steps each, and print what came out. Rank r of N
// trains on row r of every batch of N rows; a single process on whole batches.
//
// The hash is of the weights; "state" of EMA weights and moments, which rank 0 has.
//
//   node reduce-rank.mjs RANK SIZE PORT ROWS [checkpointing] [sharded] [bf16]
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Generator } from "../../../dist/core/generator.js";
import { Tensor } from "../../../dist/core/tensor.js";
import { ConnectedGroup } from "../../../dist/distributed/connected-group.js";
import { UNet2DConditionModel } from "../../../dist/models/unet_2d_condition.js";
import { Shards } from "../../../dist/training/shards.js";
import { Trainer } from "../../../dist/training/trainer.js";

const [rank, size, port, rows] = process.argv.slice(2, 6).map(Number);
const [checkpointing, sharded, bf16] = ["checkpointing", "sharded", "bf16"].map((word) => process.argv.includes(word));
const place = { rank, size, localRank: rank, host: "here", masterHost: "127.0.0.1", masterPort: port };
const group =
  size > 1
    ? await ConnectedGroup.connect({ ...place, launcherServes: false, attempt: "0" }, { timeoutMs: 60_000 })
    : undefined;

const base = fileURLToPath(new URL("../../fixtures/script-full/base/unet", import.meta.url));
const rank0 = await UNet2DConditionModel.fromPretrained(base);
// The other ranks, which have to take over rank 0's weights, have random ones at first.
const unet = rank === 0 ? rank0 : await UNet2DConditionModel.fromConfig({ ...rank0.config });
const trainer = await Trainer.create(unet, {
  ...{ adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, adamWeightDecay: 1e-2, optimizer: "adamw" },
  ...{ useEma: true, gradientCheckpointing: checkpointing, shadowWeights: false, mixedPrecision: null },
  ...(sharded && { shardRank: rank, shardCount: size }),
});
if (group) await trainer.distribute(group.native, bf16 ? "bfloat16" : undefined);
const shards = sharded ? await Shards.agree(group, trainer) : undefined;

const { config } = unet;
async function batch(number) {
  const generator = new Generator("cpu", number);
  const mine = async (tensor) => {
    if (size === 1) return tensor;
    const [all, ...shape] = tensor.shape;
    const values = await tensor.toArray();
    const each = values.length / all;
    return Tensor.from(values.slice(rank * each, (rank + 1) * each), [1, ...shape]);
  };
  const sample = await Tensor.randn([rows, config.in_channels, 8, 8], { generator });
  const timesteps = await Tensor.randint(0, 1000, [rows], { generator });
  const embeddings = await Tensor.randn([rows, 7, config.cross_attention_dim], { generator });
  const target = await Tensor.randn([rows, config.out_channels, 8, 8], { generator });
  return {
    sample: await mine(sample),
    timesteps: await mine(timesteps),
    conditions: { embeddings: await mine(embeddings) },
    target: await mine(target),
  };
}

const [losses, norms] = [[], []];
for (let step = 0; step < 3; step++) {
  let sum = 0;
  for (const micro of [0, 1]) {
    const reduces = micro === 1 && group !== undefined;
    const loss = await trainer.accumulate(await batch(2 * step + micro), 1 / 2, { reduces });
    sum += (await loss.item()) / 2;
    loss.dispose();
  }
  const [total] = group ? await group.sum([sum]) : [sum];
  losses.push(total / size);
  norms.push((await trainer.step(1e-4, 1, 1, 0.9)).gradNorm);
}
/** Everything, at rank 0. */
async function state(which) {
  if (shards) return (await shards.gather(which)) ?? {};
  return which === "ema" ? trainer.emaState() : trainer.optimizerState();
}
const weights = [];
for (const tensors of [await trainer.weights(), await state("ema")])
  for (const tensor of Object.values(tensors))
    weights.push(...Array.from((await tensor.toArray()).slice(0, 4), Number));
// A window that only rank 0 has data for.
if (group) {
  if (rank === 0) (await trainer.accumulate(await batch(100), 1, { reduces: true })).dispose();
  else await trainer.reduce();
  norms.push((await trainer.step(1e-4, 1, 1, 0.9)).gradNorm);
}

async function hashOf(...records) {
  const hash = createHash("sha256");
  for (const tensors of records)
    for (const name of Object.keys(tensors).sort()) {
      const values = await tensors[name].toArray();
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
  return hash.digest("hex");
}
const hash = await hashOf(await trainer.weights());
const held = Object.keys(await trainer.optimizerState()).length;
const whole = await hashOf(await state("ema"), await state("optimizer"));
await group?.close();
console.log(JSON.stringify({ losses, norms, hash, held, state: rank === 0 ? whole : null, weights }));

// One of several processes that average known gradients twice, as scripts/record-distributed.py has PyTorch do, and print
// the SHA-256 of what came out. The gradients become ready in the order of the parameters, or in that of the backward pass.
//
//   node bits-rank.mjs RANK SIZE PORT parameters|backward
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Generator } from "../../../dist/core/generator.js";
import { Tensor } from "../../../dist/core/tensor.js";
import { ConnectedGroup } from "../../../dist/distributed/connected-group.js";
import { UNet2DConditionModel } from "../../../dist/models/unet_2d_condition.js";
import { restoreTensors } from "../../../dist/training/named-tensors.js";
import { Trainer } from "../../../dist/training/trainer.js";

const [rank, size, port] = process.argv.slice(2, 5).map(Number);
const order = process.argv[5];
const at = (path) => fileURLToPath(new URL(`../../fixtures/${path}`, import.meta.url));
const { parameters } = JSON.parse(readFileSync(at("distributed/reduce.json"), "utf8"));
const place = { rank, size, localRank: rank, host: "here", masterHost: "127.0.0.1", masterPort: port };
const group = await ConnectedGroup.connect({ ...place, launcherServes: false, attempt: "0" }, { timeoutMs: 60_000 });
const unet = await UNet2DConditionModel.fromPretrained(at("script-full/base/unet"));
const trainer = await Trainer.create(unet, {
  ...{ adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, adamWeightDecay: 1e-2, use8bitAdam: false },
  ...{ useEma: false, gradientCheckpointing: false, shadowWeights: false, mixedPrecision: null },
});
await trainer.distribute(group.native);

const { config } = unet;
const batch = {
  sample: await Tensor.zeros([1, config.in_channels, 8, 8]),
  timesteps: await Tensor.zeros([1], { dtype: "int64" }),
  conditions: { embeddings: await Tensor.zeros([1, 7, config.cross_attention_dim]) },
  target: await Tensor.zeros([1, config.out_channels, 8, 8]),
};
const hashes = [];
for (const step of [0, 1]) {
  // Gradients of some kind, which the known ones replace.
  (await trainer.accumulate(batch, 1)).dispose();
  const given = {};
  const gradients = await trainer.gradients();
  for (const [i, name] of parameters.entries()) {
    const generator = new Generator("cpu", 1_000_000 * step + 10_000 * rank + i);
    given[name] = await Tensor.randn(gradients[name].shape, { generator });
  }
  await restoreTensors(gradients, given, "the gradients");
  if (order === "parameters") await trainer.reduce();
  // To which this adds zeros.
  else (await trainer.accumulate(batch, 0, { reduces: true })).dispose();
  const hash = createHash("sha256");
  for (const name of [...parameters].sort()) {
    const values = await gradients[name].toArray();
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  hashes.push(hash.digest("hex"));
  await trainer.forgetGradients();
}
await group.close();
console.log(JSON.stringify(hashes));

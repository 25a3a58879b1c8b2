import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  AutoencoderKL,
  CLIPTextModel,
  Generator,
  loadSafetensors,
  Tensor,
  UNet2DConditionModel,
} from "../../dist/index.js";
import { deviation, device, fixture, MODELS, onCuda, report, scientific, TOLERANCE } from "./setting.mjs";

/** Loads a module in a type, runs it on what was recorded, and gives its outputs beside diffusers' ones. */
const MODULES = {
  "text encoder": async (name, recorded, options) => {
    const text = await CLIPTextModel.fromPretrained(fixture(name, "model/text_encoder"), options);
    const { lastHiddenState } = await text.forward(recorded["text.input_ids"]);
    text.dispose();
    return [[lastHiddenState, recorded["text.last_hidden_state"]]];
  },
  autoencoder: async (name, recorded, options) => {
    const vae = await AutoencoderKL.fromPretrained(fixture(name, "model/vae"), options);
    const posterior = await vae.encode(recorded["vae.image"]);
    const decoded = await vae.decode(recorded["vae.mean"]);
    const pairs = [
      [posterior.mean, recorded["vae.mean"]],
      [decoded, recorded["vae.decoded"]],
    ];
    if (options.dtype === "float32")
      pairs.push([await posterior.sample(new Generator("cpu", 0)), recorded["vae.sample_seed0"]]);
    vae.dispose();
    return pairs;
  },
  UNet: async (name, recorded, options) => {
    const unet = await UNet2DConditionModel.fromPretrained(fixture(name, "model/unet"), options);
    const timesteps = Array.from(await recorded["unet.timestep"].toArray(), Number);
    const out = await unet.forward(recorded["unet.sample"], timesteps, recorded["unet.encoder_hidden_states"]);
    unet.dispose();
    return [[out, recorded["unet.out"]]];
  },
};

for (const name of MODELS)
  describe(`modules of ${name} give what diffusers gives`, async () => {
    const recorded = await loadSafetensors(fixture(name, "expected.safetensors"));
    for (const dtype of ["float32", "bfloat16", "float16"])
      for (const attention of ["auto", "math"])
        for (const [module, run] of Object.entries(MODULES))
          test(`${module} in ${dtype}, ${attention} attention`, async () => {
            let worst = 0;
            for (const [actual, expected] of await run(name, recorded, { dtype, device, attention })) {
              assert.deepEqual([actual.device, actual.dtype], [device, dtype]);
              const { relative } = await deviation(actual, expected);
              worst = Math.max(worst, relative);
            }
            const limit = TOLERANCE[dtype].modules;
            report(`${name} ${module} ${dtype} ${attention}`, scientific(worst), scientific(limit));
            assert.ok(worst < limit, `deviates by ${worst}`);
          });
  });

test("token ids outside the vocabulary are refused, and the device still works", async () => {
  const text = await CLIPTextModel.fromPretrained(fixture("ip2p-tiny", "model/text_encoder"), { device });
  for (const id of [-1n, 1000n, 2n ** 62n])
    await assert.rejects(text.forward(Tensor.from(BigInt64Array.of(id), [1, 1])), { code: "ERR_INVALID_ARGUMENT" });
  const { pooled } = await text.forward(Tensor.from(BigInt64Array.of(999n), [1, 1]));
  assert.equal(await pooled.isFinite(), true);
});

test("weights keep their values when moved to the device", { skip: !onCuda }, async () => {
  const load = (to) => UNet2DConditionModel.fromPretrained(fixture("ip2p-tiny", "model/unet"), { device: to });
  const [here, there] = await Promise.all(["cpu", device].map(async (to) => await (await load(to)).stateDict()));
  for (const [name, weight] of Object.entries(there))
    assert.equal(await (await weight.to({ device: "cpu" })).equal(here[name]), true, name);
});

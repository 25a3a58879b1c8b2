import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cudaDevices,
  deviceMemory,
  emptyCache,
  InstructPix2PixPipeline,
  resetPeakMemory,
  synchronize,
  Tensor,
  UNet2DConditionModel,
} from "../../dist/index.js";
import { addon, device, fixture, onCuda, report, system } from "./setting.mjs";

const MEBIBYTE = 2 ** 20;
const edit = (pipe, more) =>
  pipe.run({ prompt: "x", image: fixture("ip2p-tiny", "image.png"), numInferenceSteps: 2, seed: 0, ...more });

/** Waits until tensors hold no more device memory: disposed tensors are freed on another thread. */
async function untilAllocated(bytes) {
  for (let attempt = 0; attempt < 100; attempt++) {
    const memory = await deviceMemory(device);
    if (memory.allocated <= bytes) return memory;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`${(await deviceMemory(device)).allocated} bytes are held instead of ${bytes}`);
}

test("a device reports its properties", { skip: !onCuda }, () => {
  assert.equal(system.cudaLibrary, true);
  const devices = cudaDevices();
  assert.equal(devices.length, system.cudaDevices);
  const [{ name, computeCapability, memory, multiprocessors }] = devices;
  report("device", `${name}, ${computeCapability.join(".")}, ${multiprocessors} multiprocessors`);
  report("device memory, GB", (memory / 1e9).toFixed(1));
  const { driver, runtime } = addon.cudaVersions();
  report("CUDA run time, driver", `${runtime}, ${driver}`);
  assert.ok(driver > 0 && runtime > 0);
});

test("memory is counted, its peak can be reset, and cached memory released", { skip: !onCuda }, async () => {
  await emptyCache(device);
  const before = await deviceMemory(device);
  assert.ok(before.free > 0 && before.free <= before.total);
  const tensor = await Tensor.zeros([256 * MEBIBYTE], { dtype: "int8", device });
  assert.equal((await deviceMemory(device)).allocated - before.allocated, 256 * MEBIBYTE);
  tensor.dispose();
  await synchronize(device);
  const after = await untilAllocated(before.allocated);
  assert.ok(after.peakAllocated - before.allocated >= 256 * MEBIBYTE);
  assert.ok(after.reserved >= 256 * MEBIBYTE);
  await resetPeakMemory(device);
  await emptyCache(device);
  const { peakAllocated, reserved } = await deviceMemory(device);
  assert.ok(peakAllocated - before.allocated < MEBIBYTE);
  assert.ok(after.reserved - reserved >= 256 * MEBIBYTE);
});

test("a moved model computes the same on each device", { skip: !onCuda }, async () => {
  const unet = await UNet2DConditionModel.fromPretrained(fixture("ip2p-tiny", "model/unet"));
  const { in_channels, cross_attention_dim } = unet.config;
  const sample = await Tensor.randn([1, in_channels, 8, 8]);
  const text = await Tensor.randn([
    1,
    5,
    Array.isArray(cross_attention_dim) ? cross_attention_dim[0] : cross_attention_dim,
  ]);
  const output = async () => {
    const result = await unet.forward(sample, 10, text);
    const values = await result.toArray();
    result.dispose();
    return values;
  };
  const here = await output();
  const { allocated } = await deviceMemory(device);
  assert.equal((await unet.to(device)).device, device);
  assert.ok((await deviceMemory(device)).allocated > allocated);
  for (const [i, value] of (await output()).entries()) assert.ok(Math.abs(value - here[i]) < 1e-4);
  await unet.to("cpu");
  await untilAllocated(allocated);
  for (const [i, value] of (await output()).entries()) assert.ok(Math.abs(value - here[i]) < 1e-5);
});

test("models offloaded to host memory give the same image, and free the device", async () => {
  const load = (to) => InstructPix2PixPipeline.fromPretrained(fixture("ip2p-tiny", "model"), { device: to });
  const [stays, moves] = [await load(device), await load("cpu")];
  await moves.enableModelCpuOffload(device);
  const before = onCuda ? await deviceMemory(device) : undefined;
  const expected = (await edit(stays)).images[0].data;
  const [a, b] = await Promise.all([edit(moves), edit(moves)]);
  assert.deepEqual(a.images[0].data, expected);
  assert.deepEqual(b.images[0].data, expected);
  for (const model of [moves.vae, moves.textEncoder, moves.unet]) assert.equal(model.device, "cpu");
  if (before) {
    // A few embeddings of prompts are remembered on the device.
    await untilAllocated(before.allocated + MEBIBYTE);
  }
  stays.dispose();
  moves.dispose();
});

test("an operator replayed from a CUDA graph gives the same result", { skip: !onCuda }, async () => {
  const x = await Tensor.randn([4, 64, 320], { device });
  const [eager] = await addon.callOperator("geglu", [x.handle], [], null);
  const replayed = new Tensor(await addon.replayOperator("geglu", [x.handle], []));
  assert.equal(await replayed.equal(new Tensor(eager)), true);
});

test("deterministic algorithms give the same bits again", { skip: !onCuda }, async () => {
  addon.setDeterministic(true);
  try {
    const pipe = await InstructPix2PixPipeline.fromPretrained(fixture("ip2p-tiny", "model"), { device });
    const [first, second] = [(await edit(pipe)).images[0].data, (await edit(pipe)).images[0].data];
    assert.deepEqual(second, first);
    pipe.dispose();
  } finally {
    addon.setDeterministic(false);
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { resolveDevice } from "../../dist/core/device.js";
import { Generator, Tensor } from "../../dist/index.js";
import { device, onCuda, report, system } from "./setting.mjs";

test("the device is the first CUDA device where there is one", () => {
  assert.equal(onCuda, system.cudaDevices > 0);
  report("libtorch", system.libtorch);
  report("CPU kernels", `${system.cpuCapability}, ${system.defaultThreads} threads`);
  report("CUDA devices", system.cudaDevices);
});

test("a missing CUDA device is refused by name", async () => {
  const absent = `cuda:${system.cudaDevices}`;
  const refusal = { code: "ERR_CUDA_UNAVAILABLE", message: new RegExp(`^device "${absent}" is not available: `) };
  assert.throws(() => resolveDevice(absent), refusal);
  await assert.rejects(Tensor.zeros([1], { device: absent }), refusal);
  assert.throws(() => new Generator(absent, 0), refusal);
});

test("tensors move to the device and back, in every type", async () => {
  const numbers = [0, 1, -2, 3, 100, 7];
  for (const dtype of ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8"]) {
    const here = Tensor.from(numbers, [2, 3], { dtype });
    const there = await here.to({ device });
    assert.deepEqual([there.device, there.dtype, there.shape], [device, dtype, [2, 3]]);
    assert.deepEqual(Array.from(await there.toArray(), Number), numbers, dtype);
    assert.equal(await (await there.to({ device: "cpu" })).equal(here), true, dtype);
  }
});

test("arithmetic on the device gives what it gives on the CPU", async () => {
  const generator = () => new Generator("cpu", 3);
  const here = await Tensor.randn([4, 1000], { generator: generator() });
  const there = await Tensor.randn([4, 1000], { generator: generator(), device });
  // A CPU generator draws the same numbers for every device.
  assert.equal(await (await there.to({ device: "cpu" })).equal(here), true);
  const operations = {
    add: (x) => x.add(1.5),
    sub: (x) => x.sub(x),
    mul: (x) => x.mul(0.1),
    div: (x) => x.div(3),
    exp: (x) => x.exp(),
    abs: (x) => x.abs(),
    neg: (x) => x.neg(),
    round: (x) => x.round(),
    clamp: (x) => x.clamp(-0.5, 0.5),
    slice: (x) => x.slice(1, 10, 20),
    reshape: (x) => x.reshape([-1, 8]),
    repeat: (x) => x.repeat([2, 1]),
    repeatInterleave: (x) => x.repeatInterleave(2, 0),
    scaleRows: (x) => x.scaleRows([1, 2, 3, 4]),
    clampRows: (x) => x.clampRows([0, 0, 0, 0], [1, 2, 3, 4]),
    cat: (x) => Tensor.cat([x, x], 1),
    linearCombination: (x) =>
      Tensor.linearCombination([
        [0.3, x],
        [0.7, x],
      ]),
  };
  for (const [name, operation] of Object.entries(operations)) {
    const [expected, actual] = [await operation(here), await operation(there)];
    assert.equal(actual.device, device, name);
    const [a, b] = [await actual.toArray(), await expected.toArray()];
    assert.ok(
      a.every((value, i) => Math.abs(value - b[i]) <= 2e-6 * Math.abs(b[i])),
      name,
    );
  }
  const [a, b] = [await here.absQuantileRows(0.9), await there.absQuantileRows(0.9)];
  assert.ok(a.every((value, i) => Math.abs(value - b[i]) < 1e-6));
  assert.deepEqual([await there.isFinite(), await (await there.div(0)).isFinite()], [true, false]);
});

test("a generator of the device repeats its numbers from a seed and from a saved state", async () => {
  const generator = new Generator(device, 2n ** 63n + 1n);
  assert.deepEqual([generator.device, generator.seed], [device, 2n ** 63n + 1n]);
  const draw = () => Tensor.randn([1001], { generator, device });
  const first = await draw();
  const state = await generator.getState();
  const second = await draw();
  assert.equal(await second.equal(first), false);
  await generator.setState(state);
  assert.equal(await (await draw()).equal(second), true);
  const again = new Generator(device, 2n ** 63n + 1n);
  assert.equal(await (await Tensor.randn([1001], { generator: again, device })).equal(first), true);
  if (onCuda) await assert.rejects(Tensor.randn([2], { generator }), { code: "ERR_INVALID_ARGUMENT" });
});

test("tensors of different devices in one operation are refused", { skip: !onCuda }, async () => {
  const [here, there] = [await Tensor.zeros([2]), await Tensor.zeros([2], { device })];
  await assert.rejects(there.add(here), { name: "InstructPix2PixError" });
});

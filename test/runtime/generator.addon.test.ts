import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { type DType, Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { fixture, readJson } from "../helpers/fixtures.js";

type Call =
  | { kind: "randn" | "rand"; shape: number[]; dtype: DType }
  | { kind: "randint"; low: number; high: number; shape: number[] }
  | { kind: "randperm"; n: number }
  | { kind: "random_int64" };

const { cases } = readJson<{ cases: { seed: string; calls: Call[] }[] }>(fixture("random", "cases.json"));
let drawn: Record<string, Tensor>;
beforeAll(async () => {
  drawn = await loadSafetensors(fixture("random", "drawn.safetensors"));
});
afterAll(() => {
  for (const tensor of Object.values(drawn)) tensor.dispose();
});

async function draw(call: Call, generator: Generator): Promise<Tensor> {
  switch (call.kind) {
    case "randn":
    case "rand":
      return Tensor[call.kind](call.shape, { dtype: call.dtype, generator });
    case "randint":
      return Tensor.randint(call.low, call.high, call.shape, { generator });
    case "randperm":
      return Tensor.randperm(call.n, { generator });
    case "random_int64":
      return Tensor.from(BigInt64Array.of(await generator.randomInt64()), []);
  }
}

test("every recorded draw gives torch's numbers, bit for bit, one after the other", async () => {
  expect(cases.length).toBeGreaterThan(150);
  for (const [i, { seed, calls }] of cases.entries()) {
    const generator = new Generator("cpu", BigInt(seed));
    for (const [j, call] of calls.entries()) {
      using actual = await draw(call, generator);
      const expected = drawn[`${i}.${j}`]!;
      const what = `seed ${seed}, ${JSON.stringify(call)}`;
      expect({ shape: actual.shape, dtype: actual.dtype }, what).toEqual({
        shape: expected.shape,
        dtype: expected.dtype,
      });
      expect(await actual.equal(expected), what).toBe(true);
    }
    const state = drawn[`${i}.state`];
    if (state) expect(await generator.getState(), `state of case ${i}`).toEqual(await state.toArray());
  }
});

test("a list of generators draws row by row", async () => {
  const generators = () => [1, 2, 3].map((seed) => new Generator("cpu", seed));
  using together = await Tensor.randn([3, 5, 4], { generator: generators() });
  const rows = await Promise.all(generators().map((generator) => Tensor.randn([1, 5, 4], { generator })));
  using joined = await Tensor.cat(rows);
  expect(await together.equal(joined)).toBe(true);
  await expect(Tensor.randn([2, 5], { generator: generators() })).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: "3 generators were given for a batch of 2",
  });
});

describe("a saved state", () => {
  /** Draws of every kind; odd numbers of normal ones. */
  const draws = async (generator: Generator) => [
    await (await Tensor.randn([3], { generator })).toArray(),
    await (await Tensor.randn([3], { generator, dtype: "float64" })).toArray(),
    await (await Tensor.rand([700], { generator })).toArray(),
    await (await Tensor.randperm(20, { generator })).toArray(),
    await generator.randomInt64(),
  ];

  test.each([0, 1, 623, 624, 625, 2000])("continues bit for bit after %i draws", async (count) => {
    const generator = new Generator("cpu", 2n ** 64n - 1n);
    (await Tensor.rand([count], { generator })).dispose();
    (await Tensor.randn([1], { generator })).dispose();
    const state = await generator.getState();
    const expected = await draws(generator);
    // In another generator, of another seed, and in the same one again.
    const other = new Generator("cpu", 5);
    await other.setState(state);
    expect(await draws(other)).toEqual(expected);
    await generator.setState(state);
    expect(await draws(generator)).toEqual(expected);
  });

  test("is taken at the time of the call, even if numbers are drawn right after it", async () => {
    const generator = new Generator("cpu", 1);
    const [state, first] = await Promise.all([generator.getState(), draws(generator)]);
    await generator.setState(state);
    expect(await draws(generator)).toEqual(first);
  });

  test("includes the seed", async () => {
    const generator = new Generator("cpu", 2n ** 63n + 5n);
    const other = new Generator("cpu", 0);
    await other.setState(await generator.getState());
    expect(other.seed).toBe(2n ** 63n + 5n);
  });

  test("is refused if it is invalid, and the generator is unchanged", async () => {
    const generator = new Generator("cpu", 1);
    const state = await generator.getState();
    const expected = await draws(generator);
    await generator.setState(state);
    // How many numbers are left, and which is next: together they point behind the last one.
    const beyond = state.slice();
    new DataView(beyond.buffer, beyond.byteOffset).setInt32(8, 624, true);
    new DataView(beyond.buffer, beyond.byteOffset).setBigUint64(16, 600n, true);
    const broken = [
      new Uint8Array(0),
      new Uint8Array(10),
      state.slice(1),
      state.map(() => 0),
      state.map(() => 255),
      beyond,
    ];
    for (const bytes of broken)
      await expect(generator.setState(bytes)).rejects.toMatchObject({ name: "InstructPix2PixError" });
    expect(await draws(generator)).toEqual(expected);
  });
});

describe("a seed", () => {
  test("is any integer in 0..2^64-1, as a number or a bigint", async () => {
    for (const seed of [0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER, 2n ** 64n - 1n])
      expect(new Generator("cpu", seed).seed).toBe(BigInt(seed));
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53, 2n ** 64n, -1n, "1", null, {}])
      expect(() => new Generator("cpu", seed as number), String(seed)).toThrow(
        expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }),
      );
  });

  test("is random by default", () => {
    expect(new Set(Array.from({ length: 20 }, () => new Generator().seed)).size).toBeGreaterThan(15);
  });
});

test("an invalid generator is refused, not replaced by another", async () => {
  for (const generator of [{}, 5, null, [{}], "cpu"] as unknown as Generator[])
    for (const call of [
      () => Tensor.randn([2], { generator }),
      () => Tensor.rand([2], { generator }),
      () => Tensor.randint(0, 5, [2], { generator }),
      () => Tensor.randperm(5, { generator }),
    ])
      await expect(call()).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});

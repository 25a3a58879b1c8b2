import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";

const folder = mkdtempSync(join(tmpdir(), "ip2p-rank-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ones = (count: number) => new Array<number>(count).fill(1);

test("every way to make a tensor is limited to 64 dimensions; any tensor can be saved and read", async () => {
  const one = await Tensor.zeros([1]);
  const makers: Record<string, (rank: number) => Promise<Tensor>> = {
    from: async (rank) => Tensor.from([1], ones(rank)),
    full: (rank) => Tensor.full(ones(rank), 1),
    randn: (rank) => Tensor.randn(ones(rank)),
    rand: (rank) => Tensor.rand(ones(rank)),
    randint: (rank) => Tensor.randint(0, 2, ones(rank)),
    reshape: (rank) => one.reshape(ones(rank)),
    repeat: (rank) => one.repeat(ones(rank)),
  };
  for (const [name, make] of Object.entries(makers)) {
    const file = join(folder, `${name}.safetensors`);
    await saveSafetensors(file, { x: await make(64) });
    expect((await loadSafetensors(file)).x!.shape, name).toEqual(ones(64));
    for (const rank of [65, 100])
      await expect(make(rank), name).rejects.toMatchObject({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringContaining(`${rank} dimensions`),
      });
  }
});

// Where JavaScript has it: from Node.js 24 on.
test.runIf("Float16Array" in globalThis)("a Float16Array is taken as float16", async () => {
  type Maker = { of(...values: number[]): Parameters<typeof Tensor.from>[0] };
  const { Float16Array } = globalThis as unknown as { Float16Array: Maker };
  const values = [0, -0.1, 65504, 6e-8, Number.POSITIVE_INFINITY, Number.NaN];
  const tensor = Tensor.from(Float16Array.of(...values));
  expect(tensor.dtype).toBe("float16");
  expect(await tensor.toArray()).toEqual(await Tensor.from(values, [6], { dtype: "float16" }).toArray());
  expect(Tensor.from(Float16Array.of(1, 2), [2, 1], { dtype: "float32" }).dtype).toBe("float32");
});

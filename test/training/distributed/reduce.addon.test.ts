import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { native } from "../../../lib/runtime/native.js";
import { trainingDevice } from "../../../lib/training/device.js";
import { fixture, readJson } from "../../helpers/fixtures.js";
import { freePort } from "./ranks.js";

const program = fileURLToPath(new URL("./reduce-rank.mjs", import.meta.url));

interface Outcome {
  losses: number[];
  norms: number[];
  /** Of the weights. */
  hash: string;
  /** How many tensors of the optimizer's state this process holds. */
  held: number;
  /** Of EMA weights and moments, which rank 0 has. */
  state: string | null;
  /** Some of the weights and EMA weights, before the window that only rank 0 has data for. */
  weights: number[];
}

function run<T = Outcome>(args: readonly string[], which = program): Promise<T> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [which, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    child.on("close", (status, signal) =>
      status === 0 ? resolve(JSON.parse(text) as T) : reject(new Error(`ended with ${status ?? signal}`)),
    );
  });
}

async function together(size: number, ...more: string[]): Promise<Outcome[]> {
  const port = String(await freePort());
  return Promise.all(
    Array.from({ length: size }, (_, rank) => run([String(rank), String(size), port, String(size), ...more])),
  );
}

describe.each([
  [2, []],
  [4, ["checkpointing"]],
] as const)("%i processes with a row each %j", (size, more) => {
  test("give the losses, gradients and weights of one process with all rows, the same bits each time", async () => {
    const [first, again, [alone]] = await Promise.all([
      together(size, ...more),
      together(size, ...more),
      Promise.all([run(["0", "1", "0", String(size), ...more])]),
    ]);
    for (const each of [...first, ...again]) expect(each.hash).toBe(first[0]!.hash);
    expect(again[0]!.state).toBe(first[0]!.state);
    for (const each of [...first, ...again])
      expect([each.losses, each.norms]).toEqual([first[0]!.losses, first[0]!.norms]);
    const { losses, norms } = first[0]!;
    expect(norms.length).toBe(4);
    for (const [i, loss] of alone!.losses.entries()) expect(Math.abs(losses[i]! / loss - 1)).toBeLessThan(1e-6);
    for (const [i, norm] of alone!.norms.entries()) expect(Math.abs(norms[i]! / norm - 1)).toBeLessThan(1e-5);
    expect(distance(first[0]!.weights, alone!.weights)).toBeLessThan(1e-6);
  });
});

test("processes that share the optimizer's state come to the same bits, and bfloat16 gradients close to them", async () => {
  const [plain, sharded, rounded] = await Promise.all([together(2), together(2, "sharded"), together(2, "bf16")]);
  for (const [i, each] of sharded.entries()) {
    expect([each.losses, each.norms, each.hash]).toEqual([plain[0]!.losses, plain[0]!.norms, plain[0]!.hash]);
    expect(each.state).toBe(plain[i]!.state);
  }
  // Each holds its part; all have the count of steps.
  const [a, b] = sharded.map(({ held }) => held - 1);
  expect(a! + b!).toBe(plain[0]!.held - 1);
  for (const held of [a!, b!]) expect(held).toBeGreaterThan(0);

  expect(rounded[0]!.hash).toBe(rounded[1]!.hash);
  expect(rounded[0]!.hash).not.toBe(plain[0]!.hash);
  expect(distance(rounded[0]!.norms, plain[0]!.norms)).toBeLessThan(1e-2);
  expect(distance(rounded[0]!.weights, plain[0]!.weights)).toBeLessThan(1e-2);
});

const bits = fileURLToPath(new URL("./bits-rank.mjs", import.meta.url));
const recorded = readJson<{ hashes: Record<string, Record<string, string[]>> }>(fixture("distributed", "reduce.json"));

test.each(["parameters", "backward"].flatMap((order) => [2, 3, 4].map((size) => [size, order] as const)))(
  "%i processes average gradients to the bits of DistributedDataParallel, in the order of %s",
  async (size, order) => {
    const port = String(await freePort());
    const ranks = Array.from({ length: size }, (_, rank) =>
      run<string[]>([String(rank), String(size), port, order], bits),
    );
    for (const hashes of await Promise.all(ranks)) expect(hashes).toEqual(recorded.hashes[order]![size]);
  },
);

test("a GPU that is not there is refused by name, before the processes meet", async () => {
  const store = await native().openStore("127.0.0.1", 0, true, 10_000, false);
  const refused = expect.objectContaining({
    code: "ERR_CUDA_UNAVAILABLE",
    message: expect.stringContaining("cuda:99"),
  });
  expect(() => native().openProcessGroup(store, "none", 0, 2, 10_000, "cuda:99")).toThrow(refused);
  store.dispose();
  const place = { compat: undefined } as const;
  expect(() => trainingDevice({ ...place, device: "cuda:1" }, 0)).toThrow(/one for all processes/);
  expect(trainingDevice({ ...place, device: "cpu" }, 1)).toBe("cpu");
  expect(trainingDevice({ compat: "diffusers", device: "auto" }, 1)).toBe("cpu");
});

/** The 2-norm of the difference, relative to `b`. */
function distance(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  const norm = (values: readonly number[]) => Math.hypot(...values);
  return norm(b.map((x, i) => a[i]! - x)) / norm(b);
}

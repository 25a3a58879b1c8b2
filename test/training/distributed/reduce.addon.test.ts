import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { freePort } from "./ranks.js";

const program = fileURLToPath(new URL("./reduce-rank.mjs", import.meta.url));

interface Outcome {
  losses: number[];
  norms: number[];
  hash: string;
  /** Some of the weights and EMA weights, before the window that only rank 0 has data for. */
  weights: number[];
}

function run(args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    child.on("close", (status, signal) =>
      status === 0 ? resolve(JSON.parse(text) as Outcome) : reject(new Error(`ended with ${status ?? signal}`)),
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
  [3, ["checkpointing"]],
] as const)("%i processes with a row each %j", (size, more) => {
  test("give the losses, gradients and weights of one process with all rows, the same bits each time", async () => {
    const [first, again, [alone]] = await Promise.all([
      together(size, ...more),
      together(size, ...more),
      Promise.all([run(["0", "1", "0", String(size), ...more])]),
    ]);
    for (const each of [...first, ...again]) expect(each.hash).toBe(first[0]!.hash);
    for (const each of [...first, ...again])
      expect([each.losses, each.norms]).toEqual([first[0]!.losses, first[0]!.norms]);
    const { losses, norms } = first[0]!;
    expect(norms.length).toBe(4);
    for (const [i, loss] of alone!.losses.entries()) expect(Math.abs(losses[i]! / loss - 1)).toBeLessThan(1e-6);
    for (const [i, norm] of alone!.norms.entries()) expect(Math.abs(norms[i]! / norm - 1)).toBeLessThan(1e-5);
    expect(distance(first[0]!.weights, alone!.weights)).toBeLessThan(1e-6);
  });
});

/** The 2-norm of the difference, relative to `b`. */
function distance(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  const norm = (values: readonly number[]) => Math.hypot(...values);
  return norm(b.map((x, i) => a[i]! - x)) / norm(b);
}

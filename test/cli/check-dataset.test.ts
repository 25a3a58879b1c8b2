import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MIXED } from "../data/helpers.js";
import { ip2p, Workplace } from "./run-cli.js";

function place(): Workplace {
  const made = new Workplace();
  cpSync(MIXED, made.at("pairs"), { recursive: true });
  return made;
}

const run = (at: Workplace, ...args: string[]) => ip2p(["check-dataset", "--from=pairs", ...args], { cwd: at.folder });

test("a good data set is described in a few lines", async () => {
  using at = place();
  const { status, stdout, stderr } = await run(at, "--sheet=sheet.jpg", "--no_progress");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/^6 rows, of which training can use 6\nimages: .*\nsizes: .*\ninstructions: .*tokens/);
  expect(stdout).toContain("sheet.jpg: 6 pairs");
  expect(readFileSync(at.at("sheet.jpg")).subarray(0, 3)).toEqual(Buffer.from([0xff, 0xd8, 0xff]));
});

test("a row that cannot be used gives status 1 and is named, also for programs", async () => {
  using at = place();
  const [first] = readFileSync(at.at("pairs", "metadata.jsonl"), "utf8").split("\n");
  const { input_image_file_name: image } = JSON.parse(first!);
  rmSync(at.at("pairs", image));
  const plain = await run(at, "--no_progress");
  expect(plain).toMatchObject({ status: 1, stderr: "" });
  expect(plain.stdout).toContain(
    `1 row cannot be used:\n  metadata.jsonl, line 1: the image "${image}" does not exist`,
  );
  const { status, stdout } = await run(at, "--json");
  expect(status).toBe(1);
  const events = stdout
    .trim()
    .split("\n")
    .map((text) => JSON.parse(text));
  expect(events.slice(0, -1).map(({ event, done }) => [event, done])).toEqual(
    [1, 2, 3, 4, 5, 6].map((n) => ["progress", n]),
  );
  expect(events.at(-1)).toMatchObject({
    ...{ event: "done", rows: 6, usable_rows: 5, long_prompts: { count: 0, first: [] }, sheet: null },
    unusable: { count: 1, first: [{ row: 0, where: "metadata.jsonl, line 1" }] },
  });
});

test("--strict counts everything", async () => {
  using at = place();
  const path = at.at("pairs", "metadata.jsonl");
  const text = readFileSync(path, "utf8");
  writeFileSync(path, text + text.slice(0, text.indexOf("\n") + 1));
  expect(await run(at, "--quiet")).toMatchObject({ status: 0, stdout: "" });
  const { status, stdout } = await run(at, "--strict");
  expect(status).toBe(1);
  expect(stdout).toContain("1 row repeats another one:\n  metadata.jsonl, line 1, again in row 6\n");
});

test("what is not there is refused in one line", async () => {
  using at = place();
  const outcome = await ip2p(["check-dataset", "--from=none"], { cwd: at.folder });
  expect(outcome).toEqual({ status: 1, stdout: "", stderr: 'ip2p: there is no file or folder "none"\n' });
  expect(await ip2p(["check-dataset"], { cwd: at.folder })).toMatchObject({ status: 2 });
});

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const program = fileURLToPath(new URL("children/niceness.mjs", import.meta.url));

/** The niceness of the main thread and of all threads of a process, two of which compute: see children/niceness.mjs. */
function threads(least: number, wrapper: string[] = []): { main: number; all: number[] } {
  const [command, ...args] = [...wrapper, process.execPath, program, String(least)];
  return JSON.parse(execFileSync(command!, args, { encoding: "utf8" }));
}

it.runIf(process.platform === "linux")("is raised for the threads that compute, and for no others", () => {
  const { main, all } = threads(19);
  expect(all.filter((niceness) => niceness === 19)).toHaveLength(main === 19 ? all.length : 2);
  expect(all.every((niceness) => niceness === 19 || niceness === main)).toBe(true);
});

it.runIf(process.platform === "linux")("is never lowered, which needs a privilege", () => {
  const { main, all } = threads(3, ["nice", "-n", "8"]);
  expect(main).toBeGreaterThanOrEqual(8);
  expect(all).toEqual(all.map(() => main));
});

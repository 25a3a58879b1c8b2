import { PassThrough } from "node:stream";
import { expect, test, vi } from "vitest";
import { endWithLauncher, LIFELINE } from "../../lib/cli/lifeline.js";

test("a process whose launcher has ended is cancelled once, and killed if it does not end", async () => {
  vi.useFakeTimers();
  try {
    const [input, cancel, kill] = [new PassThrough(), vi.fn(), vi.fn()];
    const env = { [LIFELINE]: "stdin" };
    endWithLauncher(env, () => input, cancel, kill);
    // Not passed on to the programs that this one starts.
    expect(env).toEqual({});
    input.write("nobody reads it");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(cancel).not.toHaveBeenCalled();
    input.end();
    await vi.advanceTimersByTimeAsync(29_000);
    expect([cancel.mock.calls.length, kill.mock.calls.length]).toEqual([1, 0]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect([cancel.mock.calls.length, kill.mock.calls.length]).toEqual([1, 1]);
  } finally {
    vi.useRealTimers();
  }
});

test("without a launcher, standard input is left alone", () => {
  const input = vi.fn();
  endWithLauncher({}, input, () => {});
  expect(input).not.toHaveBeenCalled();
});

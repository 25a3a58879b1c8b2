import { PassThrough } from "node:stream";
import { afterEach, expect, it, vi } from "vitest";
import { cancelOnSignals } from "../../lib/cli/signals.js";

afterEach(() => vi.restoreAllMocks());

const terminal = () => Object.assign(new PassThrough(), { isTTY: true });

it("the first signal cancels, the second exits at once and restores the cursor", () => {
  const exit = vi.spyOn(process, "exit").mockImplementation((() => {}) as () => never);
  const stderr = terminal();
  const before = process.listenerCount("SIGINT");
  const cancellation = cancelOnSignals(stderr);
  expect(cancellation.signal.aborted).toBe(false);

  process.emit("SIGINT", "SIGINT");
  expect(cancellation.signal).toMatchObject({ aborted: true, reason: "SIGINT" });
  expect(exit).not.toHaveBeenCalled();
  expect(stderr.read()).toBe(null);

  process.emit("SIGTERM", "SIGTERM");
  expect(exit).toHaveBeenCalledWith(143);
  expect(String(stderr.read())).toContain("\x1b[?25h");
  cancellation.stop();
  expect(process.listenerCount("SIGINT")).toBe(before);
});

it("the exit status is the signal's, unless the command had succeeded by then", () => {
  const cancellation = cancelOnSignals(terminal());
  expect([cancellation.statusFor(0), cancellation.statusFor(2)]).toEqual([0, 2]);
  process.emit("SIGTERM", "SIGTERM");
  expect([cancellation.statusFor(0), cancellation.statusFor(1)]).toEqual([0, 143]);
  cancellation.stop();
});

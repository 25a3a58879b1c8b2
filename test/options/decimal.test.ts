import { expect, test } from "vitest";
import { isDecimal } from "../../lib/core/decimal.js";

test("only decimal numbers are accepted, in Python's notation too", () => {
  for (const text of ["0", "-1", "+1", ".5", "2.", "-.5e-4", "1E+30", "007", "1".repeat(1e6)])
    expect(isDecimal(text), text.slice(0, 20)).toBe(true);
  for (const text of [
    "",
    ".",
    "-",
    "e5",
    "1e",
    "1e5.",
    "1_000",
    "0x10",
    "Infinity",
    "NaN",
    "1,5",
    " 1",
    "1\n",
    "--1",
    "١",
  ])
    expect(isDecimal(text), text).toBe(false);
  // Work that grows with the square of the length would take hours.
  expect(isDecimal(`${"1".repeat(1e6)}x`)).toBe(false);
});

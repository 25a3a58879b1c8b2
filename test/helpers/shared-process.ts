// Runs before each file of tests that shares its process with others: none may notice what ran before it. Mocks and spies
// are undone by vitest.
import { afterAll, vi } from "vitest";
import { forgetWarnings } from "../../lib/core/warn.js";

const folder = process.cwd();
forgetWarnings();

afterAll(() => {
  vi.unstubAllEnvs();
  vi.useRealTimers();
  process.chdir(folder);
});

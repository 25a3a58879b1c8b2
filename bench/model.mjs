import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheFolder } from "../dist/runtime/platform.js";
import { makeRandomModel } from "../scripts/make-random-model.mjs";

/**
 * The folder of a random model, created if missing.
 *
 * @param {(line: string) => void} log
 * @param {{ channels?: number, source?: string, name?: string, dtype?: string }} kind channels of the UNet's input; or a folder of
 *   test/fixtures with configurations and names of tensors, and what the model is called; and the type of its weights
 */
export function randomModel(log, { channels = 8, source, name = "stable-diffusion-1.5", dtype = "float32" } = {}) {
  const kind = source !== undefined || channels === 8 ? "" : `-${channels}-channels`;
  const folder = join(cacheFolder(), "bench", `${name}${kind}-random-0`);
  if (existsSync(join(folder, "model_index.json"))) return folder;
  log(`making a random model in ${folder} (4 to 7 GB, once)`);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(dirname(partial), { recursive: true });
  const fixtures = fileURLToPath(new URL("../test/fixtures", import.meta.url));
  makeRandomModel(partial, source === undefined ? { channels, dtype } : { source: join(fixtures, source), dtype });
  renameSync(partial, folder);
  return folder;
}

import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheFolder } from "../dist/runtime/platform.js";
import { makeRandomModel } from "../scripts/make-random-model.mjs";

/**
 * The folder of the random model, created if missing.
 *
 * @param {(line: string) => void} log
 * @param {number} channels of the UNet's input
 */
export function randomModel(log, channels = 8) {
  const kind = channels === 8 ? "" : `-${channels}-channels`;
  const folder = join(cacheFolder(), "bench", `stable-diffusion-1.5${kind}-random-0`);
  if (existsSync(join(folder, "model_index.json"))) return folder;
  log(`making a random model in ${folder} (4 GB, once)`);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(dirname(partial), { recursive: true });
  makeRandomModel(partial, { channels });
  renameSync(partial, folder);
  return folder;
}

import { join, resolve } from "node:path";
import { MODEL_INDEX } from "../../components/model-index.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { parseYaml } from "../../data/yaml.js";
import { cardHead } from "../../files/card-head.js";
import { isFile } from "../../files/is-file.js";
import { readTextFile } from "../../files/text-file.js";
import { type ResolveOptions, resolvePretrained } from "../../hub/index.js";
import type { Environment } from "../../runtime/platform.js";

const CARD = "README.md";
const MAX_CARD = 16 * 2 ** 20;

/**
 * The prior of a decoder: what the key `prior` of its model card names, a repository of the hub or a folder. A relative path
 * is looked for in the current directory, as in diffusers, then in the decoder's folder and beside it.
 *
 * @throws `ERR_CONFIG` if the card names none
 */
export async function findPrior(
  pathOrId: string,
  options: Pick<ResolveOptions, "revision" | "cacheDir" | "token" | "localFilesOnly" | "signal"> & {
    env?: Environment;
  },
): Promise<string> {
  const { revision, cacheDir, token, localFilesOnly, signal, env = process.env } = options;
  const from = { revision, cacheDir, token, localFilesOnly, signal };
  const folder = await resolvePretrained(pathOrId, { ...from, allowPatterns: [MODEL_INDEX, CARD] }, env);
  const path = join(folder, CARD);
  const card = (await isFile(path)) ? await readTextFile(path, { maxBytes: MAX_CARD, code: "ERR_CONFIG" }) : "";
  const { prior } = (parseYaml(cardHead(card) ?? "", path) ?? {}) as { prior?: unknown };
  const named = Array.isArray(prior) ? prior[0] : prior;
  if (typeof named !== "string" || named === "")
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      `${quote(pathOrId)} does not say which prior belongs to it: ${CARD} has no entry "prior". Load the prior and the decoder by KandinskyV22PriorPipeline and their own classes, or give ip2p generate --prior`,
    );
  for (const base of [".", folder, join(folder, "..")]) {
    const candidate = resolve(base, named);
    if (await isFile(join(candidate, MODEL_INDEX))) return candidate;
  }
  return named;
}

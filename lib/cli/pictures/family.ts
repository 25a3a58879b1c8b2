import { MODEL_INDEX, readModelIndex } from "../../components/model-index.js";
import { isFile } from "../../files/is-file.js";
import { resolvePretrained } from "../../hub/index.js";
import { openSingleFile } from "../../single-file/file.js";
import type { CommandIo } from "../command.js";
import type { PictureValues } from "./options.js";

/** Which pipelines a model is for. */
export type ModelFamily = "sd" | "sdxl";

/** Which part of Kandinsky 2.2 a model is: the decoder, the prior, or both in one folder. */
export type KandinskyFamily = "kandinsky" | "kandinsky-prior" | "kandinsky-combined";

/** The family of `--model`, of which nothing but the index of its folder, or the header of its file, is read. */
export async function familyOfModel(
  { model, revision, cacheDir, localFilesOnly }: PictureValues,
  { env, signal }: Pick<CommandIo, "env" | "signal">,
): Promise<ModelFamily | KandinskyFamily> {
  if (model === undefined) return "sd"; // the built-in one
  if (await isFile(model)) return (await openSingleFile(model)).family.startsWith("sdxl") ? "sdxl" : "sd";
  const from = { revision, cacheDir, localFilesOnly, signal, allowPatterns: [MODEL_INDEX] };
  const { className } = await readModelIndex(await resolvePretrained(model, from, env));
  if (className.startsWith("KandinskyV22"))
    return /Prior/.test(className)
      ? "kandinsky-prior"
      : /Combined/.test(className)
        ? "kandinsky-combined"
        : "kandinsky";
  return className.startsWith("StableDiffusionXL") ? "sdxl" : "sd";
}

export function isKandinsky(family: ModelFamily | KandinskyFamily): family is KandinskyFamily {
  return family.startsWith("kandinsky");
}

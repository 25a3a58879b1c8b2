import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { usableComponents } from "../components/files.js";
import { readModelIndex } from "../components/model-index.js";
import { InstructPix2PixError } from "../core/errors.js";
import { disk } from "../files/file-system.js";
import { exists } from "../files/tree.js";
import { obtainPipeline } from "../hub/select.js";
import type { FileSource } from "../hub/source.js";
import { MODEL_CARD } from "./recipes/edit/save-model.js";

/** A file of a model, and where it is. */
export interface ModelFile {
  /** Relative to the model's folder, with `/` between its parts. */
  name: string;
  path: string;
}

/**
 * The files that loading a trained model needs, and its card, if it has one. Of a LoRA its own files: the index names a place on this machine, and
 * the base model is elsewhere.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_IO`
 */
export async function modelFiles(folder: string): Promise<ModelFile[]> {
  const { base } = await readModelIndex(folder);
  const card = (await exists(disk, join(folder, MODEL_CARD))) ? [MODEL_CARD] : [];
  if (base?.lora !== undefined)
    return [base.lora, ...(base.convIn === undefined ? [] : [base.convIn]), ...card].map((name) => ({
      name,
      path: join(folder, name),
    }));
  const source = await LocalPipeline.open(folder);
  await obtainPipeline(source, {});
  await source.obtain(card);
  return [...source.obtained].sort().map((name) => ({ name, path: source.path(name) }));
}

/** The pipeline's files in a folder that may hold other files. */
class LocalPipeline implements FileSource {
  readonly label: string;
  readonly names: ReadonlySet<string>;
  readonly obtained = new Set<string>();

  private constructor(label: string, names: ReadonlySet<string>) {
    this.label = label;
    this.names = names;
  }

  static async open(folder: string): Promise<LocalPipeline> {
    const names = new Set<string>();
    for (const prefix of ["", ...usableComponents(await readModelIndex(folder)).map((component) => `${component}/`)])
      for (const entry of await entriesOf(join(folder, prefix))) if (entry.isFile()) names.add(prefix + entry.name);
    return new LocalPipeline(folder, names);
  }

  async obtain(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (!this.names.has(name))
        throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `${this.path(name)}: no such file`);
      this.obtained.add(name);
    }
  }

  path(name: string): string {
    return join(this.label, name);
  }
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new InstructPix2PixError("ERR_IO", `${folder}: cannot be read (${code ?? message})`, { cause: error });
  }
}

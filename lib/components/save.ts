import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { disk } from "../files/file-system.js";
import { ioError } from "../files/io-error.js";
import { readTree, syncPath } from "../files/tree.js";
import type { PretrainedModel } from "../models/pretrained.js";
import { DIFFUSERS_VERSION } from "../models/save.js";
import { copyComponent } from "./copy.js";
import { type PipelineDescription, savedSettings, slotsOf } from "./description.js";
import { filesOf } from "./files.js";
import { type ComponentClass, MODEL_INDEX } from "./model-index.js";
import { numbered } from "./numbered.js";
import { classOf } from "./registry.js";

/** A component to save. */
export interface SavedComponent {
  /** As `model_index.json` names it. */
  readonly library: string;
  readonly className: string;
  /** Writes its folder. Errors of the file system pass through. */
  write(folder: string): Promise<void>;
}

/** The content of a pipeline's folder. */
export interface SavedPipeline {
  /** The class in diffusers. */
  readonly className: string;
  /** By folder; null for what diffusers' class knows and this pipeline lacks. */
  readonly components: Readonly<Record<string, SavedComponent | null>>;
  /** The index's other entries, such as `requires_safety_checker`. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Texts to write beside the index, by name: README.md. */
  readonly files?: Readonly<Record<string, string>>;
  /** Writes other files beside the index. */
  readonly write?: (folder: string) => Promise<void>;
  /** Entries of the index whose names start with "_". */
  readonly more?: Readonly<Record<string, unknown>>;
}

/** Temporary folder below the pipeline's. */
const UNFINISHED = ".model.tmp";

/**
 * Writes a pipeline's folder that diffusers loads, `model_index.json` last. What was there is kept until the new one is
 * entirely on the disk; files of other names stay.
 *
 * @throws `ERR_IO`, with nothing unfinished left behind
 */
export async function saveComponents(folder: string, pipeline: SavedPipeline): Promise<void> {
  const unfinished = join(folder, UNFINISHED);
  try {
    await rm(unfinished, { recursive: true, force: true });
    try {
      await writePipeline(unfinished, pipeline);
      await moveContents(unfinished, folder);
    } finally {
      // The original error takes precedence.
      await rm(unfinished, { recursive: true, force: true }).catch(() => {});
    }
  } catch (error) {
    throw ioError("save the model in", folder, error);
  }
}

/**
 * The folder of a pipeline with these components.
 *
 * @param parts with the pipeline's settings by their names in the API; those left out have their defaults
 */
export function savedPipeline<C>(
  description: PipelineDescription<C>,
  components: SavedPipeline["components"],
  parts: Partial<C> = {},
): SavedPipeline {
  const { className, lacking = [] } = description;
  const optional = slotsOf(description).flatMap(([, slot]) => (slot.optional ? [slot.folder] : []));
  const all = { ...Object.fromEntries([...lacking, ...optional].map((name) => [name, null])), ...components };
  const settings = description.settings?.((folder) => Boolean(all[folder]));
  return {
    className,
    settings: { ...settings, ...savedSettings(description, parts) },
    components: all,
  };
}

/**
 * The loaded components of a pipeline, for {@link savedPipeline}.
 *
 * @throws `ERR_INVALID_ARGUMENT` for one of a class that cannot be saved, and for a quantized model
 */
export function savedComponents<C>(
  description: PipelineDescription<C>,
  components: C,
): Record<string, SavedComponent | null> {
  return Object.fromEntries(
    slotsOf(description).map(([name, slot]) => {
      const part = components[name];
      if (part == null) return [slot.folder, null];
      if (!Array.isArray(part) || slot.list === undefined) return [slot.folder, savedComponent(String(name), part)];
      return [
        slot.folder,
        savedList(
          slot.list,
          part.map((one) => savedComponent(String(name), one)),
        ),
      ];
    }),
  );
}

/** Components in numbered folders, of which the index names the first. */
function savedList(className: string, parts: readonly SavedComponent[]): SavedComponent {
  const write = async (folder: string) => {
    for (const [place, part] of parts.entries()) await part.write(numbered(folder, place));
  };
  return { library: parts[0]!.library, className, write };
}

/**
 * A loaded component.
 *
 * @param name for messages
 * @throws as {@link savedComponents}
 */
export function savedComponent(name: string, component: unknown): SavedComponent {
  const entry = classOf(component);
  if (!entry)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${name} is of a class that cannot be saved with a pipeline`,
    );
  const { library, className } = entry;
  if (entry.files.kind === "model") (component as PretrainedModel<unknown>).checkExact();
  return { library, className, write: (folder) => entry.save(folder, component as never) };
}

/** A component as it is in another folder: byte for byte where possible, but in files with plain names. */
export function copiedComponent(
  { library, className }: ComponentClass,
  from: string,
  variant?: string,
): SavedComponent {
  const files = filesOf({ library, className });
  return { library, className, write: (folder) => copyComponent(files, from, folder, variant) };
}

/** The text of a pipeline's `model_index.json`. @param more further entries, whose names start with "_" */
export function modelIndexText(pipeline: SavedPipeline, more: Readonly<Record<string, unknown>> = {}): string {
  const entries: Record<string, unknown> = { ...pipeline.settings };
  for (const [name, component] of Object.entries(pipeline.components))
    entries[name] = component ? [component.library, component.className] : [null, null];
  const sorted = Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1));
  const index = {
    _class_name: pipeline.className,
    _diffusers_version: DIFFUSERS_VERSION,
    ...more,
    ...Object.fromEntries(sorted),
  };
  return `${JSON.stringify(index, null, 2)}\n`;
}

async function writePipeline(folder: string, pipeline: SavedPipeline): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, component] of Object.entries(pipeline.components)) await component?.write(join(folder, name));
  await pipeline.write?.(folder);
  await writeFile(join(folder, MODEL_INDEX), modelIndexText(pipeline, pipeline.more));
  for (const [name, text] of Object.entries(pipeline.files ?? {})) await writeFile(join(folder, name), text);
}

/** Moves the synced files; the index goes last, so that a folder with an index is a complete pipeline. */
async function moveContents(from: string, to: string): Promise<void> {
  const { files, folders } = await readTree(disk, from);
  for (const file of files) await syncPath(disk, join(from, file), "file");
  await rm(join(to, MODEL_INDEX), { force: true });
  for (const folder of folders) await mkdir(join(to, folder), { recursive: true });
  for (const file of [...files.filter((name) => name !== MODEL_INDEX), MODEL_INDEX])
    await rename(join(from, file), join(to, file));
  for (const folder of folders) await syncPath(disk, join(to, folder), "folder");
}

import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import type { EditDataset } from "../../lib/data/dataset.js";
import { createLoader, type LoaderOptions } from "../../lib/data/loader.js";
import { type OpenDatasetOptions, openDataset } from "../../lib/data/open-dataset.js";
import { fixture } from "../helpers/fixtures.js";

/** Folders that are gone after the tests of a file. */
export class Scratch {
  #root = "";
  #count = 0;

  async start(): Promise<void> {
    this.#root = await mkdtemp(join(tmpdir(), "ip2p-data-"));
  }

  async stop(): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }

  /** Where unpacked images go, unless a test has its own cache. */
  get cacheDir(): string {
    return join(this.#root, "cache");
  }

  /** A path that does not exist yet. */
  path(): string {
    return join(this.#root, `${this.#count++}`);
  }

  /** A folder with these files; a Buffer or text is the content, `{ copy }` a file to copy. */
  async folder(files: Readonly<Record<string, string | Buffer | { copy: string }>>): Promise<string> {
    const root = this.path();
    await mkdir(root);
    for (const [name, content] of Object.entries(files)) {
      const path = join(root, name);
      await mkdir(dirname(path), { recursive: true });
      if (typeof content === "object" && !Buffer.isBuffer(content)) await cp(content.copy, path, { recursive: true });
      else await writeFile(path, content);
    }
    return root;
  }

  open(options: OpenDatasetOptions): Promise<EditDataset> {
    return openDataset({ cacheDir: this.cacheDir, ...options });
  }
}

export function useScratch(): Scratch {
  const scratch = new Scratch();
  beforeAll(() => scratch.start());
  afterAll(() => scratch.stop());
  return scratch;
}

/** Images of the fixture `mixed`, by the names that its metadata have. */
export const MIXED = fixture("data", "mixed", "folder");
export const MIXED_LENGTH = 6;
export const MIXED_RESOLUTION = 16;

export function picture(name: string): { copy: string } {
  return { copy: join(MIXED, "images", name) };
}

/** A line of metadata in the fixture's own columns. */
export function line(original: string | null, edited: string | null, prompt: string | null): string {
  return `${JSON.stringify({ input_image_file_name: original, edited_image_file_name: edited, edit_prompt: prompt })}\n`;
}

/** All rows of a small dataset at once. */
export async function loadAll(dataset: EditDataset, options: Partial<LoaderOptions> = {}) {
  const loader = createLoader(dataset, { resolution: MIXED_RESOLUTION, workers: 2, ...options });
  return loader.load(Array.from({ length: dataset.length }, (_, i) => i));
}

/** The prompts of all rows, in order. */
export async function promptsOf(dataset: EditDataset): Promise<(string | null)[]> {
  return Promise.all(Array.from({ length: dataset.length }, async (_, i) => (await dataset.row(i)).prompt));
}

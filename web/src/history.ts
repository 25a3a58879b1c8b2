import { signal } from "@preact/signals";
import { type DBSchema, openDB } from "idb";
import type { Settings } from "./settings.js";

/** A request that is done, with its images. */
export interface Run {
  id?: number;
  /** Milliseconds since 1970. */
  time: number;
  /** With the seed that was used. */
  settings: Settings;
  /** Undefined for images from text alone. */
  source: Blob | undefined;
  images: Blob[];
}

interface Tables extends DBSchema {
  runs: { key: number; value: Run };
}

/** Older ones are forgotten. */
const KEPT = 60;

const database = openDB<Tables>("instruct-pix2pix", 1, {
  upgrade: (db) => void db.createObjectStore("runs", { keyPath: "id", autoIncrement: true }),
});

/** The newest first. */
export const history = signal<readonly Run[]>([]);

export async function loadHistory(): Promise<void> {
  history.value = (await (await database).getAll("runs")).reverse();
}

export async function remember(run: Run): Promise<Run> {
  const db = await database;
  const kept = { ...run, id: await db.add("runs", run) };
  const runs = [kept, ...history.value];
  for (const { id } of runs.slice(KEPT)) await db.delete("runs", id!);
  history.value = runs.slice(0, KEPT);
  return kept;
}

export async function forget(run: Run): Promise<void> {
  await (await database).delete("runs", run.id!);
  history.value = history.value.filter(({ id }) => id !== run.id);
}

export async function forgetAll(): Promise<void> {
  await (await database).clear("runs");
  history.value = [];
}

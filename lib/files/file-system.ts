import { lstat, mkdir, open, readdir, rename, rmdir, unlink } from "node:fs/promises";
import { sha256OfFiles } from "./sha256.js";

export type EntryKind = "file" | "folder" | "other";

export interface FolderEntry {
  readonly name: string;
  /** Links are not followed: a symbolic link is `other`. */
  readonly kind: EntryKind;
}

export interface OpenFile {
  /** Reads from the current position; 0 at the end. */
  read(buffer: Uint8Array): Promise<number>;
  /** Writes at the current position, possibly partially; resolves to the number of bytes written. */
  write(bytes: Uint8Array): Promise<number>;
  /** Returns once everything written so far is on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Sha256 {
  /** In bytes. */
  readonly size: number;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
}

/**
 * The file system interface of checkpoints: one method per system call, so that tests can inject failures at each.
 * Errors are Node's, with a `code`.
 */
export interface FileSystem {
  mkdir(path: string): Promise<void>;
  readdir(path: string): Promise<FolderEntry[]>;
  /** Does not follow a link at the end of the path. */
  lstat(path: string): Promise<{ kind: EntryKind; size: number }>;
  /** `r` also opens folders, to sync them; `r+` an existing file for syncing; `wx` a file that must not exist yet. */
  open(path: string, flags: "r" | "r+" | "wx"): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  /** Hashes files, in order. */
  sha256(paths: readonly string[], signal?: AbortSignal): Promise<Sha256[]>;
}

interface Kinds {
  isFile(): boolean;
  isDirectory(): boolean;
}

function kindOf(entry: Kinds): EntryKind {
  return entry.isFile() ? "file" : entry.isDirectory() ? "folder" : "other";
}

/** The real file system. */
export const disk: FileSystem = {
  mkdir: async (path) => {
    await mkdir(path);
  },
  readdir: async (path) =>
    (await readdir(path, { withFileTypes: true })).map((entry) => ({ name: entry.name, kind: kindOf(entry) })),
  lstat: async (path) => {
    const info = await lstat(path);
    return { kind: kindOf(info), size: info.size };
  },
  open: async (path, flags) => {
    const file = await open(path, flags);
    return {
      read: async (buffer) => (await file.read(buffer, 0, buffer.length, null)).bytesRead,
      write: async (bytes) => (await file.write(bytes, 0, bytes.length, null)).bytesWritten,
      sync: () => file.sync(),
      close: () => file.close(),
    };
  },
  rename,
  unlink,
  rmdir,
  sha256: sha256OfFiles,
};

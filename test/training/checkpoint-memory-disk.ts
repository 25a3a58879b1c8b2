import { createHash } from "node:crypto";
import { throwIfAborted } from "../../lib/core/errors.js";
import type { FileSystem, OpenFile } from "../../lib/files/file-system.js";

interface MemoryFile {
  kind: "file";
  data: Buffer;
  /** How much of the data a power cut cannot take. */
  synced: Buffer;
}

interface MemoryFolder {
  kind: "folder";
  entries: Map<string, MemoryNode>;
  /** The entries after each change since the last sync; a power cut leaves any one of them, each change whole. */
  history: Map<string, MemoryNode>[];
}

type MemoryNode = MemoryFile | MemoryFolder;

function folder(): MemoryFolder {
  return { kind: "folder", entries: new Map(), history: [new Map()] };
}

function fail(code: string, path: string): never {
  throw Object.assign(new Error(`${code}: ${path}`), { code });
}

/**
 * A disk in memory that can lose power: of every file the bytes that were not synced may be gone, and of every folder
 * the latest changes to its names, in reverse order.
 */
export class MemoryDisk implements FileSystem {
  private root = folder();

  async mkdir(path: string): Promise<void> {
    const [parent, name] = this.locate(path);
    if (parent.entries.has(name)) fail("EEXIST", path);
    this.change(parent, () => parent.entries.set(name, folder()));
  }

  async readdir(path: string) {
    return [...this.folderAt(path).entries].map(([name, { kind }]) => ({ name, kind }));
  }

  async lstat(path: string) {
    const node = this.node(path);
    return { kind: node.kind, size: node.kind === "file" ? node.data.length : 4096 };
  }

  async open(path: string, flags: "r" | "r+" | "wx"): Promise<OpenFile> {
    if (flags === "wx") {
      const [parent, name] = this.locate(path);
      if (parent.entries.has(name)) fail("EEXIST", path);
      const file: MemoryFile = { kind: "file", data: Buffer.alloc(0), synced: Buffer.alloc(0) };
      this.change(parent, () => parent.entries.set(name, file));
    }
    const node = this.node(path);
    let position = 0;
    return {
      read: async (buffer) => {
        if (node.kind === "folder") fail("EISDIR", path);
        const copied = node.data.copy(buffer, 0, position);
        position += copied;
        return copied;
      },
      write: async (bytes) => {
        if (node.kind === "folder") fail("EISDIR", path);
        // Never all at once, as a disk that is nearly full does.
        const part = bytes.subarray(0, Math.max(1, bytes.length >> 1));
        node.data = Buffer.concat([node.data, part]);
        return part.length;
      },
      sync: async () => {
        if (node.kind === "file") node.synced = node.data;
        else node.history = [new Map(node.entries)];
      },
      close: async () => {},
    };
  }

  async rename(from: string, to: string): Promise<void> {
    const node = this.node(from);
    const [source, oldName] = this.locate(from);
    const [target, newName] = this.locate(to);
    const existing = target.entries.get(newName);
    if (existing?.kind === "folder" && existing.entries.size > 0) fail("ENOTEMPTY", to);
    if (source !== target) throw new Error("a rename between folders is not atomic on this disk");
    this.change(source, () => {
      source.entries.delete(oldName);
      source.entries.set(newName, node);
    });
  }

  async unlink(path: string): Promise<void> {
    if (this.node(path).kind === "folder") fail("EISDIR", path);
    const [parent, name] = this.locate(path);
    this.change(parent, () => parent.entries.delete(name));
  }

  async rmdir(path: string): Promise<void> {
    if (this.folderAt(path).entries.size > 0) fail("ENOTEMPTY", path);
    const [parent, name] = this.locate(path);
    this.change(parent, () => parent.entries.delete(name));
  }

  async sha256(paths: readonly string[], signal?: AbortSignal) {
    return paths.map((path) => {
      throwIfAborted(signal);
      const { data } = this.node(path) as MemoryFile;
      return { size: data.length, sha256: createHash("sha256").update(data).digest("hex") };
    });
  }

  /** Every path below the root with its content; folders end in a slash. */
  dump(): Map<string, string> {
    const all = new Map<string, string>();
    const visit = (at: MemoryFolder, path: string): void => {
      for (const [name, node] of at.entries)
        if (node.kind === "file") all.set(path + name, node.data.toString());
        else {
          all.set(`${path}${name}/`, "");
          visit(node, `${path}${name}/`);
        }
    };
    visit(this.root, "/");
    return all;
  }

  /** The state of the disk after a power cut; `random(n)` is a whole number from 0 to n − 1. */
  afterPowerCut(random: (limit: number) => number): MemoryDisk {
    const survive = (node: MemoryNode): MemoryNode => {
      if (node.kind === "file") {
        const extra = node.data.length - node.synced.length;
        const data = node.data.subarray(0, node.synced.length + (extra > 0 ? random(extra + 1) : 0));
        return { kind: "file", data, synced: data };
      }
      const states = node.history;
      const names = states[random(states.length)]!;
      const entries = new Map([...names].map(([name, child]) => [name, survive(child)]));
      return { kind: "folder", entries, history: [new Map(entries)] };
    };
    const copy = new MemoryDisk();
    copy.root = survive(this.root) as MemoryFolder;
    return copy;
  }

  /** A copy of which everything is on the disk. */
  settled(): MemoryDisk {
    for (const folders = [this.root]; folders.length > 0; ) {
      const at = folders.pop()!;
      at.history = [new Map(at.entries)];
      for (const node of at.entries.values())
        if (node.kind === "folder") folders.push(node);
        else node.synced = node.data;
    }
    return this.afterPowerCut(() => 0);
  }

  private change(at: MemoryFolder, apply: () => void): void {
    apply();
    at.history.push(new Map(at.entries));
  }

  private locate(path: string): [MemoryFolder, string] {
    const parts = path.split("/").filter(Boolean);
    const name = parts.pop();
    if (name === undefined) fail("EBUSY", path);
    return [this.folderAt(parts.join("/")), name];
  }

  private folderAt(path: string): MemoryFolder {
    const node = this.node(path);
    return node.kind === "folder" ? node : fail("ENOTDIR", path);
  }

  private node(path: string): MemoryNode {
    let node: MemoryNode = this.root;
    for (const part of path.split("/").filter(Boolean)) {
      if (node.kind === "file") fail("ENOTDIR", path);
      node = node.entries.get(part) ?? fail("ENOENT", path);
    }
    return node;
  }
}

/** Thrown by every call of a killed process. */
export class Killed extends Error {}

/** What becomes of a call: its number counts from 1. Throwing prevents the call. */
export type Interference = (call: number, name: string) => void;

/** Lets `interfere` speak before every call, those on open files included. */
export function interfering(fs: FileSystem, interfere: Interference): FileSystem & { calls(): number } {
  let calls = 0;
  const guard = <A extends unknown[], R>(name: string, call: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      interfere(++calls, name);
      return call(...args);
    };
  };
  return {
    calls: () => calls,
    mkdir: guard("mkdir", (path) => fs.mkdir(path)),
    readdir: guard("readdir", (path) => fs.readdir(path)),
    lstat: guard("lstat", (path) => fs.lstat(path)),
    rename: guard("rename", (from, to) => fs.rename(from, to)),
    unlink: guard("unlink", (path) => fs.unlink(path)),
    rmdir: guard("rmdir", (path) => fs.rmdir(path)),
    sha256: guard("sha256", (paths, signal) => fs.sha256(paths, signal)),
    open: guard("open", async (path, flags) => {
      const file = await fs.open(path, flags);
      return {
        read: guard("read", (buffer) => file.read(buffer)),
        write: guard("write", (bytes) => file.write(bytes)),
        sync: guard("sync", () => file.sync()),
        // Even a close that fails gives the descriptor back.
        close: async () => {
          await file.close();
          interfere(++calls, "close");
        },
      };
    }),
  };
}

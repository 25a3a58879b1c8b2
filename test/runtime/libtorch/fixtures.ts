import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { onTestFinished } from "vitest";
import { crc32 } from "../../../lib/files/crc32.js";
import type { LibtorchRelease, PinnedWheel } from "../../../lib/runtime/libtorch/releases.js";

/** A folder that is removed when the test ends. */
export function temporaryFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "ip2p-libtorch-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes files by their paths below a folder. */
export function writeTree(folder: string, files: Record<string, string | Buffer>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

/** What the parts of a libtorch that are looked at look like, without being libraries. */
export function libtorchFiles(version = "2.13.0", { cuda = false } = {}): Record<string, string> {
  return {
    "lib/libc10.so": "c10",
    "lib/libtorch_cpu.so": "cpu half",
    "lib/libtorch.so": "names the others",
    "lib/libtorch_python.so": "for Python only",
    "include/ATen/ATen.h": "#pragma once\n",
    "share/cmake/Torch/TorchConfig.cmake": "# cmake\n",
    "version.py": `from typing import Optional\n__version__ = '${version}'\ndebug = False\n`,
    ...(cuda ? { "lib/libc10_cuda.so": "c10 cuda", "lib/libtorch_cuda.so": "cuda half" } : {}),
  };
}

/** The same as a wheel lays it out. */
export function wheelFiles(version = "2.13.0", options: { cuda?: boolean } = {}): Record<string, string> {
  const files = Object.entries(libtorchFiles(version, options));
  return {
    ...Object.fromEntries(files.map(([path, content]) => [`torch/${path}`, content])),
    "torch/__init__.py": "for Python only",
    "torch/nn/functional.py": "for Python only",
    "torch-2.13.0.dist-info/licenses/LICENSE": "a license",
  };
}

export interface ZipEntry {
  name: string;
  content: string | Buffer;
  /** Unix type and permissions; default a file that may be read. */
  mode?: number;
  /** Written instead of the right checksum. */
  crc?: number;
  /** Written instead of the right unpacked size. */
  size?: number;
}

/** A ZIP archive, deflated, as wheels are. */
export function makeZip(entries: readonly ZipEntry[] | Record<string, string>): Buffer {
  const list = Array.isArray(entries)
    ? (entries as ZipEntry[])
    : Object.entries(entries).map(([name, content]) => ({ name, content: content as string }) as ZipEntry);
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, content, mode = 0o100644, crc, size } of list) {
    const data = Buffer.from(content as string);
    const packed = deflateRawSync(data);
    const nameBytes = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0); // version needed
    common.writeUInt16LE(0x800, 2); // names are UTF-8
    common.writeUInt16LE(8, 4); // deflated
    common.writeUInt32LE(crc ?? crc32(data, 0), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(size ?? data.length, 18);
    common.writeUInt16LE(nameBytes.length, 22);
    const header = Buffer.concat([Buffer.from("PK\x03\x04"), common, nameBytes, packed]);
    const attributes = Buffer.alloc(14);
    attributes.writeUInt32LE((mode << 16) >>> 0, 6);
    attributes.writeUInt32LE(offset, 10);
    central.push(Buffer.concat([Buffer.from("PK\x01\x02"), Buffer.from([20, 3]), common, attributes, nameBytes]));
    local.push(header);
    offset += header.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(list.length, 8);
  end.writeUInt16LE(list.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...local, directory, end]);
}

export const sha256 = (data: Buffer | string) => createHash("sha256").update(data).digest("hex");

/** A pinned wheel whose content is known. */
export function pin(file: string, content: Buffer, requirement: string): PinnedWheel {
  return { file, requirement, sha256: sha256(content), size: content.length };
}

const CPU_FILE = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl";
const CUDA_FILE = "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl";
const RUNTIME_FILE = "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl";

/** A release in miniature, with the contents of its wheels by their names. */
export function smallRelease(index: string): {
  release: LibtorchRelease;
  contents: Record<string, Buffer>;
  cpu: PinnedWheel;
  cuda: PinnedWheel;
  runtime: PinnedWheel;
} {
  const contents = {
    [CPU_FILE]: makeZip(wheelFiles("2.13.0+cpu")),
    [CUDA_FILE]: makeZip(wheelFiles("2.13.0+cu130", { cuda: true })),
    [RUNTIME_FILE]: makeZip({
      "nvidia/cu13/lib/libcudart.so.13": "cuda runtime",
      "nvidia/cu13/lib/libcudart_static.a": "for other compilers",
      "nvidia/cu13/include/cuda.h": "#pragma once\n",
      "nvidia/__init__.py": "",
    }),
  };
  const cpu = pin(CPU_FILE, contents[CPU_FILE] as Buffer, "torch==2.13.0+cpu");
  const cuda = pin(CUDA_FILE, contents[CUDA_FILE] as Buffer, "torch===2.13.0");
  const runtime = pin(RUNTIME_FILE, contents[RUNTIME_FILE] as Buffer, "nvidia-cuda-runtime==13.0.96");
  const release: LibtorchRelease = {
    platform: "linux-x64-gnu",
    index,
    recipes: [
      { variant: "cpu", wheels: [cpu], cpuHalfOnly: false, indexFolder: "cpu", unpackedSize: 1000 },
      { variant: "cpu", wheels: [cuda, runtime], cpuHalfOnly: true, unpackedSize: 1000 },
      { variant: "cuda", wheels: [cuda, runtime], cpuHalfOnly: false, unpackedSize: 1000 },
    ],
  };
  return { release, contents, cpu, cuda, runtime };
}

/** A local server that ends with the test. */
export async function serve(handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/**
 * A folder for PATH with a `python3` that acts as pip: it logs its arguments and copies from a folder of wheels, which
 * may be empty.
 */
export function fakePip(wheels: Record<string, Buffer>): { path: string; log: string } {
  const folder = temporaryFolder();
  writeTree(
    folder,
    Object.fromEntries(Object.entries(wheels).map(([name, content]) => [join("wheels", name), content])),
  );
  const log = join(folder, "log");
  const script = `#!${process.execPath}
const fs = require("node:fs");
const path = require("node:path");
const args = process.argv.slice(2);
if (args.includes("--version")) { console.log("pip 24.0"); process.exit(0); }
fs.appendFileSync(${JSON.stringify(log)}, JSON.stringify(args) + "\\n");
const requirement = args.at(-1);
const [name, version] = requirement.split(/===?/);
const wheel = name.replaceAll("-", "_") + "-" + version + "-";
const folder = ${JSON.stringify(join(folder, "wheels"))};
const found = fs.existsSync(folder) && fs.readdirSync(folder).find((file) => file.startsWith(wheel));
if (!found) {
  console.error("ERROR: Could not find a version that satisfies the requirement " + requirement);
  console.error("ERROR: No matching distribution found for " + requirement);
  process.exit(1);
}
console.log("  Downloading " + found + " (1 kB)");
fs.copyFileSync(path.join(folder, found), path.join(args[args.indexOf("--dest") + 1], found));
`;
  writeTree(folder, { "bin/python3": script });
  chmodSync(join(folder, "bin/python3"), 0o755);
  return { path: join(folder, "bin"), log };
}

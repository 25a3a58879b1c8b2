import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, vi } from "vitest";
import { assertDiskSpace } from "../../../lib/files/disk.js";
import { withLock } from "../../../lib/files/lock.js";
import type { ArchiveLimits } from "../../../lib/runtime/libtorch/archive-entries.js";
import { detectCudaDriver } from "../../../lib/runtime/libtorch/cuda-driver.js";
import { resolveLibtorch } from "../../../lib/runtime/libtorch/find.js";
import { type InstallOptions, installLibtorch, type LibtorchManifest } from "../../../lib/runtime/libtorch/install.js";
import { placeOf } from "../../../lib/runtime/libtorch/layout.js";
import { pipArguments } from "../../../lib/runtime/libtorch/pip.js";
import { probeLibtorch } from "../../../lib/runtime/libtorch/probe.js";
import type { InstallEvent } from "../../../lib/runtime/libtorch/progress.js";
import { recipesOf, releaseFor } from "../../../lib/runtime/libtorch/releases.js";
import { unpackArchive } from "../../../lib/runtime/libtorch/unpack.js";
import {
  fakePip,
  libtorchFiles,
  makeZip,
  serve,
  sha256,
  smallRelease,
  temporaryFolder,
  wheelFiles,
  writeTree,
  type ZipEntry,
} from "./fixtures.js";

const NOBODY = "http://127.0.0.1:9";
/** vitest waits for a second, which a busy machine may take. */
const PATIENCE = { timeout: 200_000 };

/** An installation into an empty cache, with its messages. */
function setting(more: InstallOptions = {}) {
  const cache = temporaryFolder();
  const messages: string[] = [];
  const options: InstallOptions = {
    variant: "cpu",
    env: { INSTRUCT_PIX2PIX_CACHE: cache, PATH: "/nowhere", ...more.env },
    release: smallRelease(NOBODY).release,
    probe: async () => undefined,
    onEvent: (event) => event.type === "message" && messages.push(event.text),
    ...more,
  };
  options.env = { INSTRUCT_PIX2PIX_CACHE: cache, PATH: "/nowhere", ...more.env };
  const entry = (name = "2.13.0-cpu") => join(cache, "libtorch", name);
  const manifest = (name?: string): LibtorchManifest =>
    JSON.parse(readFileSync(join(entry(name), "manifest.json"), "utf8"));
  return { cache, options, messages, entry, manifest };
}

function expectNothingLeft(cache: string): void {
  expect(existsSync(join(cache, "libtorch")) ? readdirSync(join(cache, "libtorch")) : []).toEqual([]);
}

function filesOf(folder: string): string[] {
  return (readdirSync(folder, { recursive: true }) as string[])
    .filter((path) => statSync(join(folder, path)).isFile())
    .sort();
}

describe("the sources of an installation", () => {
  it("start with the official index", async () => {
    const requests: string[] = [];
    const { release, contents, cpu } = smallRelease("unset");
    const index = await serve((request, response) => {
      requests.push(request.url as string);
      response.end(contents[decodeURIComponent((request.url as string).split("/").at(-1) as string)]);
    });
    const { options, manifest, entry, cache } = setting({ release: { ...release, index } });
    const installed = await installLibtorch(options);
    expect(installed).toMatchObject({ version: "2.13.0+cpu", variant: "cpu", source: "cache", alreadyThere: false });
    expect(requests).toEqual(["/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl"]);
    expect(manifest()).toMatchObject({
      version: "2.13.0+cpu",
      source: { kind: "https", location: `${index}${requests[0]}` },
      cpuHalfOnly: false,
      archives: [{ file: cpu.file, sha256: cpu.sha256 }],
    });
    expect(filesOf(join(entry(), "torch"))).toContain("lib/libtorch.so");
    expect(readdirSync(join(cache, "downloads"))).toEqual([]);
    expect(resolveLibtorch({ env: options.env }).root).toBe(installed.root);
  });

  it("continue with pip, in the user's configuration", async () => {
    const { release, contents, cpu } = smallRelease(NOBODY);
    const pip = fakePip({ [cpu.file]: contents[cpu.file] as Buffer });
    const { options, manifest, messages } = setting({ release, env: { PATH: pip.path } });
    await installLibtorch(options);
    expect(manifest().source).toEqual({ kind: "pip", location: "python3 -m pip" });
    const args = JSON.parse(readFileSync(pip.log, "utf8").trim()) as string[];
    expect(args.slice(0, 5)).toEqual(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"]);
    expect(args.at(-1)).toBe("torch==2.13.0+cpu");
    expect(messages.join("\n")).toMatch(/not available there: http:\/\/127\.0\.0\.1:9\/cpu\/.*ECONNREFUSED|bad port/);
  });

  it("stop if pip downloads far more than the size of the wheel", async () => {
    const { release } = smallRelease(NOBODY);
    const bin = writeTree(temporaryFolder(), {
      python3: `#!${process.execPath}
const fs = require("node:fs"), path = require("node:path"), args = process.argv;
if (!args.includes("--version")) {
  const file = path.join(args[args.indexOf("--dest") + 1], "endless");
  setInterval(() => fs.statSync(file, { throwIfNoEntry: false })?.size > 1e8 || fs.appendFileSync(file, Buffer.alloc(1e6)), 1);
}
`,
    });
    chmodSync(join(bin, "python3"), 0o755);
    const { options, cache } = setting({ release, env: { PATH: bin } });
    await expect(installLibtorch(options)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
      message: expect.stringMatching(
        /torch==2\.13\.0\+cpu, from python3 -m pip, is not the expected file: it has more/,
      ),
    });
    expectNothingLeft(cache);
  });

  it("end with the CPU libraries of the CUDA wheel, which is announced and recorded", async () => {
    const { release, contents, cuda, runtime } = smallRelease(NOBODY);
    const pip = fakePip({
      [cuda.file]: contents[cuda.file] as Buffer,
      [runtime.file]: contents[runtime.file] as Buffer,
    });
    const { options, manifest, messages, entry } = setting({ release, env: { PATH: pip.path } });
    const installed = await installLibtorch(options);
    expect(installed).toMatchObject({ version: "2.13.0+cu130", variant: "cpu" });
    expect(messages).toContain("fetching torch===2.13.0 by pip, the CUDA wheel, to unpack its CPU half only");
    expect(manifest()).toMatchObject({
      cpuHalfOnly: true,
      variant: "cpu",
      archives: [
        { file: cuda.file, sha256: cuda.sha256 },
        { file: runtime.file, sha256: runtime.sha256 },
      ],
    });
    expect(filesOf(entry())).toEqual([
      "licenses/torch-2.13.0/LICENSE",
      "manifest.json",
      "nvidia/cu13/lib/libcudart.so.13",
      "torch/include/ATen/ATen.h",
      "torch/lib/libc10.so",
      "torch/lib/libtorch_cpu.so",
      "torch/share/cmake/Torch/TorchConfig.cmake",
      "torch/version.py",
    ]);
  });

  it("are all named, with their errors, if all fail", async () => {
    const { release } = smallRelease(NOBODY);
    const pip = fakePip({});
    const { options, cache } = setting({ release, env: { PATH: pip.path } });
    const failed = installLibtorch(options);
    await expect(failed).rejects.toMatchObject({ code: "ERR_DOWNLOAD" });
    await expect(failed).rejects.toThrow(
      /--from\n {2}tried: http.*\n.*torch==2\.13\.0\+cpu: No matching distribution.*\n.*torch===2\.13\.0: No matching distribution/,
    );
    expectNothingLeft(cache);
    const without = setting({ release });
    await expect(installLibtorch(without.options)).rejects.toThrow(/no Python with pip was found/);
  });

  it("are only the mirror, if one is given: a copy of the index or a folder with the file", async () => {
    for (const prefix of ["/cpu", ""]) {
      const { release, contents, cpu } = smallRelease("http://never.invalid");
      const mirror = await serve((request, response) => {
        if (request.url === `/wheels${prefix}/${encodeURIComponent(cpu.file)}`) response.end(contents[cpu.file]);
        else response.writeHead(404).end();
      });
      const { options, manifest } = setting({ release, mirror: `${mirror}/wheels/` });
      await installLibtorch(options);
      expect(manifest().source.location).toContain(mirror);
    }
    const pip = fakePip(smallRelease("").contents);
    const { options } = setting({ mirror: NOBODY, env: { PATH: pip.path } });
    await expect(installLibtorch(options)).rejects.toMatchObject({ code: "ERR_DOWNLOAD" });
    expect(existsSync(pip.log)).toBe(false);
  });

  it("must deliver the pinned bytes: other content is an error, and no other source is tried", async () => {
    const { release, contents, cpu } = smallRelease(NOBODY);
    const other = Buffer.concat([contents[cpu.file] as Buffer, Buffer.from("x")]);
    const pip = fakePip({ ...contents, [cpu.file]: other });
    const { options, cache } = setting({ release, env: { PATH: pip.path } });
    const failed = installLibtorch(options);
    await expect(failed).rejects.toMatchObject({ code: "ERR_DOWNLOAD" });
    await expect(failed).rejects.toThrow(`its sha256 is ${sha256(other)}, expected ${cpu.sha256}`);
    expectNothingLeft(cache);
  });
});

describe("the CUDA variant", () => {
  const wanted = [
    "licenses/torch-2.13.0/LICENSE",
    "manifest.json",
    "nvidia/cu13/include/cuda.h",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcudart_static.a",
    "torch/include/ATen/ATen.h",
    ...["c10", "c10_cuda", "torch", "torch_cpu", "torch_cuda"].map((stem) => `torch/lib/lib${stem}.so`),
    "torch/share/cmake/Torch/TorchConfig.cmake",
    "torch/version.py",
  ];

  it("is unpacked from all its wheels, downloaded by pip", async () => {
    const { release, contents, cuda, runtime } = smallRelease(NOBODY);
    const pip = fakePip(contents);
    const { options, manifest, entry } = setting({ variant: "cuda", release, env: { PATH: pip.path } });
    expect(await installLibtorch(options)).toMatchObject({ version: "2.13.0+cu130", variant: "cuda" });
    expect(filesOf(entry("2.13.0-cuda"))).toEqual(wanted);
    expect(manifest("2.13.0-cuda")).toMatchObject({
      cpuHalfOnly: false,
      source: { kind: "pip" },
      archives: [cuda, runtime].map(({ file, sha256 }) => ({ file, sha256 })),
    });
    expect(resolveLibtorch({ env: options.env })).toMatchObject({ variant: "cuda" });
  });

  it("also comes from a mirror, and resumes at the wheel at which it was interrupted", async () => {
    const { release, contents, cuda, runtime } = smallRelease("http://never.invalid");
    const requests: string[] = [];
    let whole = false;
    const mirror = await serve((request, response) => {
      const file = decodeURIComponent((request.url as string).slice(1));
      requests.push(`${file} ${request.headers.range ?? ""}`.trim());
      const body = contents[file]!;
      if (file === cuda.file || whole) {
        const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
        const range = { "content-range": `bytes ${from}-${body.length - 1}/${body.length}` };
        return response.writeHead(from > 0 ? 206 : 200, from > 0 ? range : {}).end(body.subarray(from));
      }
      response.writeHead(404).end();
    });
    const { options, manifest, entry, cache } = setting({ variant: "cuda", release, mirror });
    await expect(installLibtorch(options)).rejects.toMatchObject({ code: "ERR_DOWNLOAD" });
    expectNothingLeft(cache);
    writeFileSync(join(cache, "downloads", `${runtime.file}.partial`), contents[runtime.file]!.subarray(0, 100));
    whole = true;
    expect((await installLibtorch(options)).variant).toBe("cuda");
    expect(requests).toEqual([cuda.file, runtime.file, `${runtime.file} bytes=100-`]);
    expect(filesOf(entry("2.13.0-cuda"))).toEqual(wanted);
    expect(manifest("2.13.0-cuda").source).toEqual({ kind: "https", location: `${mirror}/${cuda.file}` });
    expect(readdirSync(join(cache, "downloads"))).toEqual([]);
  });

  it("is refused if one of its wheels is not the pinned file", async () => {
    const { release, contents, runtime } = smallRelease(NOBODY);
    const pip = fakePip({ ...contents, [runtime.file]: makeZip({ "nvidia/cu13/lib/libcudart.so.13": "another" }) });
    const { options, cache } = setting({ variant: "cuda", release, env: { PATH: pip.path } });
    await expect(installLibtorch(options)).rejects.toThrow(/nvidia_cuda_runtime.* is not the expected file/);
    expectNothingLeft(cache);
  });
});

describe("--from", () => {
  it("takes a wheel", async () => {
    const from = join(writeTree(temporaryFolder(), { "any.whl": makeZip(wheelFiles("2.12.1+cpu")) }), "any.whl");
    const { options, manifest } = setting({ from, variant: "auto" });
    const { version, variant } = await installLibtorch(options);
    expect([version, variant]).toEqual(["2.12.1+cpu", "cpu"]);
    expect(manifest("2.12.1-cpu").source).toEqual({ kind: "file", location: from });
    expect(manifest("2.12.1-cpu").archives).toEqual([{ file: "any.whl", sha256: sha256(readFileSync(from)) }]);
  });

  it("takes an official archive, whose folder is libtorch", async () => {
    const files = Object.entries({ ...libtorchFiles(), "build-version": "2.13.0+cpu\n" });
    const zip = makeZip(Object.fromEntries(files.map(([path, content]) => [`libtorch/${path}`, content])));
    const from = join(writeTree(temporaryFolder(), { "libtorch.zip": zip }), "libtorch.zip");
    const { options } = setting({ from, variant: "auto" });
    expect((await installLibtorch(options)).version).toBe("2.13.0+cpu");
  });

  it.each(["", "torch", "libtorch"])("takes an unpacked libtorch, here in <folder>/%s", async (inner) => {
    const from = temporaryFolder();
    writeTree(join(from, inner), libtorchFiles());
    const { options, entry, manifest } = setting({ from });
    await installLibtorch(options);
    expect(filesOf(join(entry(), "torch", "lib"))).toEqual(["libc10.so", "libtorch_cpu.so"]);
    expect(manifest()).toMatchObject({ source: { kind: "folder", location: from }, archives: [] });
  });

  it("includes the nvidia folder beside a CUDA libtorch", async () => {
    const from = temporaryFolder();
    writeTree(join(from, "torch"), libtorchFiles("2.13.0+cu130", { cuda: true }));
    writeTree(from, { "nvidia/cu13/lib/libcudart.so.13": "runtime", "nvidia/cudnn/lib/libcudnn.so.9": "dnn" });
    const { options, entry } = setting({ from: join(from, "torch"), variant: "auto" });
    expect((await installLibtorch(options)).variant).toBe("cuda");
    expect(filesOf(join(entry("2.13.0-cuda"), "nvidia"))).toEqual([
      "cu13/lib/libcudart.so.13",
      "cudnn/lib/libcudnn.so.9",
    ]);
    expect((await installLibtorch({ ...options, variant: "cpu" })).variant).toBe("cpu");
    expect(filesOf(join(entry("2.13.0-cpu"), "nvidia"))).toEqual(["cu13/lib/libcudart.so.13"]);
  });

  it("takes a folder of pinned wheels, or one of them with its companions", async () => {
    const { release, contents, cuda, runtime, cpu } = smallRelease(NOBODY);
    const folder = writeTree(temporaryFolder(), {
      [cuda.file]: contents[cuda.file]!,
      [runtime.file]: contents[runtime.file]!,
    });
    for (const from of [folder, join(folder, cuda.file)])
      for (const variant of ["cpu", "cuda"] as const) {
        const { options } = setting({ from, variant, release });
        expect((await installLibtorch(options)).variant).toBe(variant);
      }
    writeFileSync(join(folder, runtime.file), "damaged");
    await expect(installLibtorch(setting({ from: folder, release }).options)).rejects.toMatchObject({
      code: "ERR_DOWNLOAD",
    });
    writeFileSync(join(folder, cpu.file), "damaged");
    const one = setting({ from: join(folder, cpu.file), release });
    await expect(installLibtorch(one.options)).rejects.toThrow(/is not the expected file/);
  });

  it.each([
    ["nothing", "ERR_FILE_NOT_FOUND", /no such file or folder/, undefined],
    ["an empty folder", "ERR_LIBTORCH", /holds neither/, {}],
    ["a text file", "ERR_LIBTORCH", /cannot be unpacked/, "not an archive"],
    [
      "a wheel of something else",
      "ERR_LIBTORCH_NOT_FOUND",
      /which has no lib\/libtorch_cpu\.so|does not exist/,
      makeZip({ "numpy/__init__.py": "" }),
    ],
    ["an old libtorch", "ERR_LIBTORCH_VERSION", /2\.6\.0.*2\.11 to 2\.15/, makeZip(wheelFiles("2.6.0"))],
  ])("refuses %s", async (_, code, message, content) => {
    const folder = temporaryFolder();
    const from = join(folder, "given");
    if (typeof content === "string" || Buffer.isBuffer(content)) writeFileSync(from, content);
    else if (content) mkdirSync(from);
    const { options, cache } = setting({ from, variant: "auto" });
    const failed = installLibtorch(options);
    await expect(failed).rejects.toMatchObject({ code });
    await expect(failed).rejects.toThrow(message);
    expectNothingLeft(cache);
  });

  it("unpacks exactly the bytes that were hashed, even if the file is replaced or changed meanwhile", async () => {
    for (const pinned of [false, true]) {
      const { release, contents, cpu } = smallRelease(NOBODY);
      const from = join(temporaryFolder(), pinned ? cpu.file : "some.whl");
      const good = contents[cpu.file]!;
      const evil = makeZip({ ...wheelFiles("2.13.0+cpu"), "torch/lib/libtorch_cpu.so": "evil" });
      writeFileSync(from, good);
      const { options, manifest, entry } = setting({ from, release, variant: "auto" });
      const onEvent = ({ type }: InstallEvent) => type === "message" && writeFileSync(from, evil);
      await installLibtorch({ ...options, onEvent });
      expect(readFileSync(from).equals(evil)).toBe(true);
      expect(manifest().archives).toEqual([{ file: basename(from), sha256: sha256(good) }]);
      expect(readFileSync(join(entry(), "torch/lib/libtorch_cpu.so"), "utf8")).toBe("cpu half");
      expect(readdirSync(join(entry(), ".."))).toEqual(["2.13.0-cpu"]);
    }
  });

  it("refuses special files, and a folder that links back to itself", async () => {
    const folder = temporaryFolder();
    const pipe = join(folder, "some.whl");
    execFileSync("mkfifo", [pipe]);
    await expect(installLibtorch(setting({ from: pipe }).options)).rejects.toThrow(/is neither a file nor a folder/);
    const tree = writeTree(join(folder, "tree"), libtorchFiles());
    for (const name of ["a", "b"]) symlinkSync(tree, join(tree, "include", name));
    await expect(installLibtorch(setting({ from: tree }).options)).rejects.toMatchObject({
      code: "ERR_LIBTORCH",
      message: expect.stringContaining("leads back to"),
    });
  });

  it("does not accept a CPU libtorch as a CUDA one", async () => {
    const from = writeTree(temporaryFolder(), libtorchFiles());
    await expect(installLibtorch(setting({ from, variant: "cuda" }).options)).rejects.toThrow(/holds no CUDA half/);
  });
});

describe("unpacking", () => {
  const install = (zip: Buffer) => {
    const from = join(writeTree(temporaryFolder(), { "some.whl": zip }), "some.whl");
    const made = setting({ from, variant: "auto" });
    return { ...made, result: installLibtorch(made.options) };
  };
  const files = Object.entries(wheelFiles()).map(([name, content]) => ({ name, content }));

  it.each(["../outside", "torch/lib/../../../outside", "/etc/outside", "torch\\..\\..\\outside", "C:/outside"])(
    "refuses the name %s",
    async (name) => {
      const { result, cache } = install(makeZip([...files, { name, content: "x" }]));
      await expect(result).rejects.toMatchObject({ code: "ERR_LIBTORCH" });
      expectNothingLeft(cache);
      expect(existsSync(join(cache, "outside")) || existsSync(join(cache, "..", "outside"))).toBe(false);
    },
  );

  it("refuses names that have a special meaning on any system", async () => {
    const names = [
      ...["torch/lib/libc10.so:stream", "torch/lib/a\\b.so", "torch/lib/NUL.so", "torch/lib/com1", "torch/lib/x."],
      ...[
        "torch/lib/x ",
        "torch/lib/y./x.so",
        "torch/lib//x.so",
        "torch/lib/./x.so",
        "torch/lib/x\0.so",
        "torch/lib/x\n",
      ],
      ...["torch/lib/x?.so", "torch/include/a|b.h", `torch/lib/${"x".repeat(256)}`, `torch/lib/${"x/".repeat(600)}y`],
      ...["nvidia/cu13/lib/c:/x.so.1", "a.dist-info/licenses/LICENSE:x", "C:torch/lib/x.so", "\\\\host/torch/lib/x.so"],
    ];
    for (const name of names) {
      const folder = temporaryFolder();
      const archive = join(folder, "some.whl");
      writeFileSync(archive, makeZip([...files, { name, content: "x" }]));
      const error = await unpackArchive(archive, join(folder, "to"), { cpuHalfOnly: false }).catch((thrown) => thrown);
      expect(error, name).toMatchObject({ code: "ERR_LIBTORCH", message: expect.not.stringMatching(/[\0\n]/) });
    }
  });

  it("refuses too many entries or bytes, extreme compression and false sizes", async () => {
    const folder = temporaryFolder();
    const archive = join(folder, "some.whl");
    const refusal = async (entries: ZipEntry[], limits: Partial<ArchiveLimits> = {}) => {
      writeFileSync(archive, makeZip(entries));
      const to = join(folder, "to");
      const options = { cpuHalfOnly: false, limits, name: "given.whl" };
      const error = await unpackArchive(archive, to, options).catch((thrown) => thrown);
      rmSync(to, { recursive: true, force: true });
      expect(error === undefined || error.code === "ERR_LIBTORCH", String(error)).toBe(true);
      return error?.message.replace("given.whl cannot be unpacked: ", "");
    };
    const bytes = files
      .filter(({ name }) => placeOf(name, { cpuHalfOnly: false }) !== undefined)
      .reduce((sum, { content }) => sum + content.length, 0);
    expect(await refusal(files, { entries: files.length, bytes })).toBeUndefined();
    expect(await refusal(files, { entries: files.length - 1 })).toMatch(/it has more than \d+ entries/);
    expect(await refusal(files, { bytes: bytes - 1 })).toMatch(/it unpacks to more than \d+ bytes/);
    const empty = { name: "torch/lib/libempty.so", content: Buffer.alloc(16_000_001) };
    expect(await refusal([...files, empty])).toMatch(/libempty\.so unpacks to more than 200 times its size/);
    for (const size of [0, 4, 6, 2 ** 31])
      expect(await refusal([...files, { name: "torch/lib/x.so", content: "12345", size }]), String(size)).toBeDefined();
    for (const mode of [0o040755, 0o010644, 0o020644, 0o060644, 0o140644])
      expect(await refusal([...files, { name: "torch/lib/x.so", content: "", mode }])).toMatch(/is not a plain file/);
    const pairs: [string, string, RegExp][] = [
      ["torch/lib/LIBC10.so", "torch/lib/x", /"torch\/lib\/LIBC10\.so" appears twice/],
      ["torch/lib/x", "libtorch/lib/x", /appears twice/],
      ["torch/lib/caf\u00e9", "torch/lib/cafe\u0301", /appears twice/],
      ["torch/lib/x/y/z", "torch/lib/X", /is a folder as well/],
      ["torch/lib/x", "torch/lib/x/y/z", /is inside of a file/],
    ];
    for (const [first, second, message] of pairs)
      expect(await refusal([...files, ...[first, second].map((name) => ({ name, content: "x" }))])).toMatch(message);
  });

  it("refuses links, wrong checksums, cut-off archives and the same name twice", async () => {
    const link = { name: "torch/lib/libevil.so", content: "/etc/passwd", mode: 0o120777 };
    const wrong = { name: "torch/lib/libwrong.so", content: "x", crc: 1 };
    const twice = { name: "torch/lib/libc10.so", content: "another" };
    for (const [archive, message] of [
      [makeZip([...files, link]), /is a symbolic link/],
      [makeZip([...files, wrong]), /checksum of torch\/lib\/libwrong\.so is wrong/],
      [makeZip([...files, twice]), /some\.whl cannot be unpacked: .*libc10\.so" appears twice/],
      [makeZip(files).subarray(0, -40), /cannot be unpacked/],
    ] as const) {
      const { result, cache } = install(archive);
      await expect(result).rejects.toThrow(message);
      expectNothingLeft(cache);
    }
  });

  it("survives any flipped byte of an archive with a typed error or the right content", async () => {
    const good = makeZip(files);
    const folder = temporaryFolder();
    const contents = new Set(files.map(({ content }) => content));
    let failures = 0;
    for (let at = 0; at < good.length; at += Math.ceil(good.length / 100)) {
      const bad = Buffer.from(good);
      bad[at]! ^= 0x55;
      const [archive, target] = [join(folder, `${at}.whl`), join(folder, `${at}`)];
      writeFileSync(archive, bad);
      try {
        await unpackArchive(archive, target, { cpuHalfOnly: false });
        for (const path of filesOf(target)) expect(contents).toContain(readFileSync(join(target, path), "utf8"));
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_LIBTORCH" });
        failures++;
      }
    }
    expect(failures).toBeGreaterThan(15);
  });

  it("keeps only the executable bit of an archive's permissions", async () => {
    const { result } = install(
      makeZip([
        ...files,
        { name: "torch/lib/libshm.so", content: "x", mode: 0o106777 },
        { name: "torch/lib/plain.h", content: "x", mode: 0o100666 },
      ]),
    );
    const { root } = await result;
    expect(statSync(join(root, "lib/libshm.so")).mode & 0o7777 & ~0o022).toBe(0o755);
    expect(statSync(join(root, "lib/plain.h")).mode & 0o7777 & ~0o022).toBe(0o644);
  });

  it("leaves out libraries that need CUDA when it unpacks a CUDA build for the CPU", () => {
    const half = (path: string) => placeOf(path, { cpuHalfOnly: true });
    for (const name of [
      "libtorch_cuda.so",
      "libtorch_cuda_linalg.so",
      "libc10_cuda.so",
      "libtorch.so",
      "libtorch_nvshmem.so",
      "libtorch_python.so",
      "libcaffe2_nvrtc.so",
    ])
      expect([name, half(`torch/lib/${name}`)]).toEqual([name, undefined]);
    for (const name of [
      "libtorch_cpu.so",
      "libc10.so",
      "libgomp.so.1",
      "libshm.so",
      "libtorch_cpu.dylib",
      "torch_cpu.dll",
      "torch_cpu.lib",
    ])
      expect(half(`torch/lib/${name}`)).toBe(`torch/lib/${name}`);
    expect(placeOf("torch/lib/libtorch_cuda.so", { cpuHalfOnly: false })).toBe("torch/lib/libtorch_cuda.so");
    expect(half("nvidia/cudnn/lib/libcudnn.so.9")).toBeUndefined();
    expect(half("nvidia/cu13/lib/libcupti.so.13")).toBe("nvidia/cu13/lib/libcupti.so.13");
    expect(half("libtorch/include/torch/all.h")).toBe("torch/include/torch/all.h");
    expect(half("README")).toBeUndefined();
  });
});

describe("the cache", () => {
  const wheel = () => join(writeTree(temporaryFolder(), { "some.whl": makeZip(wheelFiles()) }), "some.whl");

  it("is kept if it has the requested variant, unless forced", async () => {
    const { release, contents, cpu } = smallRelease(NOBODY);
    const pip = fakePip({ [cpu.file]: contents[cpu.file] as Buffer });
    const { options, entry } = setting({ release, env: { PATH: pip.path } });
    await installLibtorch(options);
    writeFileSync(join(entry(), "torch", "mark"), "");
    expect((await installLibtorch(options)).alreadyThere).toBe(true);
    expect(readFileSync(pip.log, "utf8").trim().split("\n").length).toBe(1);
    expect((await installLibtorch({ ...options, force: true })).alreadyThere).toBe(false);
    expect(existsSync(join(entry(), "torch", "mark"))).toBe(false);
  });

  it("is repaired if a part of it was deleted", async () => {
    const { release, contents, cpu } = smallRelease(NOBODY);
    const pip = fakePip({ [cpu.file]: contents[cpu.file] as Buffer });
    const { options, entry } = setting({ release, env: { PATH: pip.path } });
    await installLibtorch(options);
    rmSync(join(entry(), "torch", "lib"), { recursive: true });
    expect((await installLibtorch(options)).alreadyThere).toBe(false);
    expect(existsSync(join(entry(), "torch", "lib", "libtorch_cpu.so"))).toBe(true);
  });

  it("never contains a libtorch that does not load on this machine", async () => {
    const { options, cache } = setting({ from: wheel(), probe: undefined });
    const failed = installLibtorch(options);
    await expect(failed).rejects.toMatchObject({ code: "ERR_LIBTORCH" });
    await expect(failed).rejects.toThrow(/does not open on this machine: .*libtorch_cpu\.so/);
    expectNothingLeft(cache);
  });

  it("keeps the downloads of a failed installation and reuses them", async () => {
    const { release, contents, cpu } = smallRelease(NOBODY);
    let served = 0;
    const index = await serve((_, response) => {
      served++;
      response.end(contents[cpu.file]);
    });
    const { options } = setting({ release: { ...release, index } });
    await expect(installLibtorch({ ...options, probe: async () => "no" })).rejects.toThrow();
    await installLibtorch(options);
    expect(served).toBe(1);
  });

  it("is filled once by two installations at the same time", async () => {
    const { release, contents, cpu } = smallRelease(NOBODY);
    let served = 0;
    const index = await serve((_, response) => {
      served++;
      setTimeout(() => response.end(contents[cpu.file]), 100);
    });
    const { options, messages } = setting({ release: { ...release, index } });
    const both = await Promise.all([installLibtorch(options), installLibtorch(options)]);
    expect(both.map(({ alreadyThere }) => alreadyThere).sort()).toEqual([false, true]);
    expect(served).toBe(1);
    expect(messages.join("\n")).toContain(`waiting for another installation (process ${process.pid})`);
  });

  it("is cleaned of the leftovers of a killed installation", async () => {
    const { options, cache } = setting({ from: wheel() });
    writeTree(cache, {
      "libtorch/.staging-abc/entry/torch/lib/libc10.so": "half",
      "libtorch/.lock": JSON.stringify({ id: "dead", pid: 2 ** 22 + 1, host: hostname() }),
    });
    await installLibtorch(options);
    expect(readdirSync(join(cache, "libtorch"))).toEqual(["2.13.0-cpu"]);
  });

  it("is unchanged by an installation that is aborted", async () => {
    const abort = new AbortController();
    const index = await serve((_, response) => {
      response.writeHead(200, { "content-length": 1000 }).write("x");
      setTimeout(() => abort.abort(), 20);
    });
    const { options, cache } = setting({ release: smallRelease(index).release, signal: abort.signal });
    await expect(installLibtorch(options)).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expectNothingLeft(cache);
    await expect(installLibtorch(options)).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("that cannot be written to has its own error", async () => {
    const folder = writeTree(temporaryFolder(), { file: "in the way" });
    const { options } = setting({ from: wheel(), env: { INSTRUCT_PIX2PIX_CACHE: join(folder, "file", "cache") } });
    await expect(installLibtorch(options)).rejects.toMatchObject({ code: "ERR_IO" });
  });
});

describe("too little disk space", () => {
  it("is noticed before anything is downloaded", async () => {
    const folder = temporaryFolder();
    await expect(assertDiskSpace(folder, 2e9, async () => 1e9)).rejects.toMatchObject({
      code: "ERR_IO",
      message: expect.stringMatching(/about 2\.0 GB are needed and 1\.0 GB are free/),
    });
    await assertDiskSpace(folder, 1e9, async () => 1e9);
    const { release } = smallRelease(NOBODY);
    const recipes = release.recipes.map((recipe) => ({ ...recipe, unpackedSize: 1e18 }));
    const { options } = setting({ release: { ...release, recipes } });
    await expect(installLibtorch(options)).rejects.toThrow(/not enough room/);
  });

  it.runIf(process.platform === "linux")(
    "and fills up all the same, ends with an error and without a trace",
    async () => {
      const big = { ...wheelFiles(), "torch/lib/libbig.so": "x".repeat(300_000) };
      const from = join(writeTree(temporaryFolder(), { "some.whl": makeZip(big) }), "some.whl");
      const { cache } = setting();
      // No file of this process may become larger than 100 kB.
      const program = `
      import { installLibtorch } from ${JSON.stringify(new URL("../../../dist/runtime/libtorch/install.js", import.meta.url).href)};
      await installLibtorch({ from: ${JSON.stringify(from)} }).then(
        () => console.log("installed"), (error) => console.log(error.code, error.message));`;
      const shell = `ulimit -f 100; exec "${process.execPath}" --input-type=module -e "$PROGRAM"`;
      const env = { ...process.env, INSTRUCT_PIX2PIX_CACHE: cache, PROGRAM: program };
      const { stdout } = await promisify(execFile)("bash", ["-c", shell], { env });
      expect(stdout).toMatch(/^ERR_IO .*libbig\.so cannot be written: EFBIG/);
      expectNothingLeft(cache);
    },
  );
});

describe("the lock", () => {
  it("is taken over at once from a dead process, and after a timeout from one on another machine", async () => {
    const path = join(temporaryFolder(), "lock");
    const holders = [
      { id: "dead", pid: 2 ** 22 + 1, host: hostname() },
      { id: "far", pid: 1, host: "elsewhere" },
    ];
    for (const holder of holders) {
      writeFileSync(path, JSON.stringify(holder));
      if (holder.host === "elsewhere") utimesSync(path, new Date(0), new Date(0));
      expect(await withLock(path, {}, async () => "done")).toBe("done");
      expect(existsSync(path)).toBe(false);
    }
    writeFileSync(path, "");
    utimesSync(path, new Date(0), new Date(0));
    expect(await withLock(path, {}, async () => "done")).toBe("done");
  });

  it("is waited for while its holder lives, and the wait can be aborted", async () => {
    const path = join(temporaryFolder(), "lock");
    writeFileSync(path, JSON.stringify({ id: "far", pid: 1, host: "elsewhere" }));
    const waited: string[] = [];
    const abort = new AbortController();
    const onWait = (holder: string) => {
      waited.push(holder);
      setTimeout(() => abort.abort(), 50);
    };
    const run = withLock(path, { signal: abort.signal, interval: 10, onWait }, async () => "done");
    await expect(run).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(waited).toEqual(["elsewhere, process 1"]);
    expect(existsSync(path)).toBe(true);
  });

  it.runIf(process.platform === "linux")("stays with a process that was stopped, however long ago", async () => {
    const path = join(temporaryFolder(), "lock");
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    const clock = vi.spyOn(Date, "now");
    try {
      await once(child, "spawn");
      writeFileSync(path, JSON.stringify({ id: "stopped", pid: child.pid, host: hostname() }));
      const hourLater = Date.now() + 3_600_000;
      clock.mockImplementation(() => hourLater);
      child.kill("SIGSTOP");
      const onWait = (holder: string) => {
        throw new Error(holder);
      };
      await vi.waitFor(() => expect(readFileSync(`/proc/${child.pid}/stat`, "utf8")).toMatch(/\) T /), PATIENCE);
      await expect(withLock(path, { onWait }, async () => "done")).rejects.toThrow(`process ${child.pid}`);
      child.kill("SIGCONT");
      await vi.waitFor(() => expect(readFileSync(`/proc/${child.pid}/stat`, "utf8")).not.toMatch(/\) T /), PATIENCE);
      expect(await withLock(path, { onWait }, async () => "done")).toBe("done");
    } finally {
      clock.mockRestore();
      child.kill("SIGKILL");
    }
  });

  it("that is not a regular file, or in an unusable folder, is an error without waiting", async () => {
    const folder = temporaryFolder();
    const unusable: [string, (path: string) => void][] = [
      ["a dangling link", (path) => symlinkSync(join(folder, "nowhere"), path)],
      ["a link to itself", (path) => symlinkSync(path, path)],
      [
        "a link to a lock",
        (path) => {
          writeFileSync(`${path}-lock`, JSON.stringify({ id: "far", pid: 1, host: "elsewhere" }));
          symlinkSync(`${path}-lock`, path);
        },
      ],
      ["a folder", (path) => mkdirSync(path)],
      [
        "a folder, old",
        (path) => {
          mkdirSync(path);
          utimesSync(path, new Date(0), new Date(0));
        },
      ],
      ["a pipe", (path) => execFileSync("mkfifo", [path])],
      [
        "below a file",
        (path) => {
          rmSync(dirname(path), { recursive: true });
          writeFileSync(dirname(path), "");
        },
      ],
      [
        "below a dangling link",
        (path) => {
          rmSync(dirname(path), { recursive: true });
          symlinkSync(join(folder, "nowhere"), dirname(path));
        },
      ],
    ];
    for (const [what, make] of unusable) {
      const path = join(folder, what, "lock");
      mkdirSync(dirname(path));
      make(path);
      const error = await withLock(path, { interval: 1 }, async () => "done").catch((thrown) => thrown);
      expect(error, what).toMatchObject({ code: "ERR_IO", message: expect.stringContaining(path) });
    }
    expect(existsSync(join(folder, "nowhere"))).toBe(false);
  });

  it("with invalid content has no known owner, and is taken over when it is old", async () => {
    const path = join(temporaryFolder(), "lock");
    const contents = ["null", "[]", '{"id":"a","pid":-1,"host":"h"}', '{"pid":0}', "\0".repeat(1 << 20), '{"id":1}'];
    for (const content of contents) {
      writeFileSync(path, content);
      const waited: string[] = [];
      const abort = new AbortController();
      const onWait = (holder: string) => {
        waited.push(holder);
        abort.abort();
      };
      const waiting = withLock(path, { signal: abort.signal, onWait, interval: 1 }, async () => "done");
      await expect(waiting).rejects.toMatchObject({ code: "ERR_ABORTED" });
      expect(waited).toEqual(["an unknown process"]);
      utimesSync(path, new Date(0), new Date(0));
      expect(await withLock(path, {}, async () => "done")).toBe("done");
    }
  });

  it("admits one at a time, and is released also when the work fails", async () => {
    const path = join(temporaryFolder(), "lock");
    let inside = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++inside);
      await new Promise((resolve) => setTimeout(resolve, 5));
      inside--;
      throw new Error("fails");
    };
    const all = Array.from({ length: 8 }, () =>
      withLock(path, { interval: 2 }, work).catch((error: Error) => error.message),
    );
    expect(new Set(await Promise.all(all))).toEqual(new Set(["fails"]));
    expect(most).toBe(1);
    expect(existsSync(path)).toBe(false);
  });
});

describe("the pinned release", () => {
  const release = releaseFor("linux-x64-gnu");

  it("is the CPU wheel, then the CPU libraries of the CUDA wheel; for CUDA all wheels it needs", () => {
    const [first, second] = recipesOf(release, "cpu");
    expect(first?.wheels.map(({ sha256 }) => sha256)).toEqual([
      "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
    ]);
    expect(second?.wheels.map(({ requirement }) => requirement)).toEqual([
      "torch===2.13.0",
      "nvidia-cuda-cupti==13.0.85",
      "nvidia-cuda-runtime==13.0.96",
    ]);
    const [cuda] = recipesOf(release, "cuda");
    expect(cuda?.cpuHalfOnly).toBe(false);
    const names = cuda?.wheels.map(({ requirement }) => requirement.replace(/=.*/, ""));
    for (const library of [
      "cublas",
      "cudnn-cu13",
      "cufft",
      "cufile",
      "curand",
      "cusolver",
      "cusparse",
      "cusparselt-cu13",
      "nccl-cu13",
      "nvjitlink",
      "nvshmem-cu13",
    ])
      expect(names).toContain(`nvidia-${library}`);
    for (const wheel of release.recipes.flatMap((recipe) => recipe.wheels)) {
      expect(wheel.sha256).toMatch(/^[0-9a-f]{64}$/);
      const [name, version] = wheel.requirement.split(/===?/) as [string, string];
      expect(wheel.file.startsWith(`${name.replaceAll("-", "_")}-${version}-`)).toBe(true);
    }
  });

  it("is requested such that any version of pip chooses exactly that file", () => {
    const [, half] = recipesOf(release, "cpu");
    expect(pipArguments(half?.wheels[2] as never, "/to")).toEqual([
      ...[
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
      ],
      ...["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64"],
      ...[
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
        "--dest",
        "/to",
        "nvidia-cuda-runtime==13.0.96",
      ],
    ]);
  });

  it.each(["win32-x64-msvc", "darwin-arm64"])("is for %s the CPU variant that pip finds", (platform) => {
    const [recipe] = recipesOf(releaseFor(platform), "cpu");
    const [wheel] = recipe!.wheels;
    const tag = wheel!.file.replace(".whl", "").split("-").at(-1)!;
    expect(tag).toMatch(platform.startsWith("win32") ? /^win_amd64$/ : /^macosx_\d+_0_arm64$/);
    expect(pipArguments(wheel!, "/to").join(" ")).toContain(`--platform ${tag} `);
    expect(wheel!.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(() => recipesOf(releaseFor(platform), "cuda")).toThrow(/is pinned for/);
  });

  it("is for linux-arm64 the CPU half of the wheel that package mirrors have, with what it is linked to", () => {
    const release = releaseFor("linux-arm64-gnu");
    const [recipe, ...others] = recipesOf(release, "cpu");
    expect(others).toEqual([]);
    expect(recipe?.cpuHalfOnly).toBe(true);
    expect(recipe?.wheels.map(({ requirement }) => requirement)).toEqual([
      "torch===2.13.0",
      "nvidia-cuda-cupti==13.0.85",
      "nvidia-cuda-runtime==13.0.96",
    ]);
    for (const { file, sha256 } of recipe!.wheels) {
      expect(file).toMatch(/_aarch64\.whl$/);
      expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    }
    expect(() => recipesOf(release, "cuda")).toThrow(/\(cuda\) is pinned for linux-arm64-gnu/);
  });

  it("does not exist for other platforms; the error names the alternatives", () => {
    expect(() => recipesOf(releaseFor("freebsd-x64"), "cpu")).toThrow(
      /is pinned for freebsd-x64; .*--from.*LIBTORCH_USE_PYTORCH=1/,
    );
  });
});

describe("options", () => {
  it.each([
    [{ variant: "rocm" }, /variant must be auto, cpu or cuda, not rocm/],
    [{ from: "a", mirror: "http://b" }, /exclude one another/],
    [{ mirror: "ftp://b" }, /mirror must be an http\(s\) address, not ftp:\/\/b/],
  ])("%j are refused", async (options, message) => {
    const failed = installLibtorch(setting(options as InstallOptions).options);
    await expect(failed).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    await expect(failed).rejects.toThrow(message);
  });

  it("auto takes CUDA for a driver that is new enough", () => {
    expect(detectCudaDriver(() => "580.65.06, NVIDIA H200\n580.65.06, NVIDIA H200\n")).toEqual({
      usable: true,
      version: "580.65.06",
      devices: ["NVIDIA H200", "NVIDIA H200"],
    });
    expect(detectCudaDriver(() => "535.129.03, Tesla T4\n")).toMatchObject({
      usable: false,
      version: "535.129.03",
      reason: expect.stringContaining("580"),
    });
    expect(detectCudaDriver(() => "No devices were found\n")).toMatchObject({ usable: false });
    expect(detectCudaDriver(() => undefined)).toMatchObject({ usable: false, reason: "no NVIDIA driver" });
  });
});

describe("test-loading a libtorch", () => {
  it("reports why a library does not load, and survives one that crashes", async () => {
    const root = writeTree(temporaryFolder(), { "lib/libtorch_cpu.so": "not a library" });
    expect(await probeLibtorch({ root }, "cpu")).toMatch(/libtorch_cpu\.so: (invalid ELF header|file too short)/);
    writeTree(root, {
      "crash.c": "#include <signal.h>\n__attribute__((constructor)) static void f(void) { raise(SIGSEGV); }\n",
    });
    const { PATH } = process.env;
    const compiler = (PATH as string).split(delimiter).some((folder) => existsSync(join(folder, "cc"))) ? "cc" : "c++";
    const args = ["-shared", "-fPIC", "-o", join(root, "lib/libtorch_cpu.so"), join(root, "crash.c")];
    await promisify(execFile)(compiler, args);
    expect(await probeLibtorch({ root }, "cpu")).toBe("a process that opened it ended with SIGSEGV");
  });
});

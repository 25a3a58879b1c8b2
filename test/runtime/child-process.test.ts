import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { findBuildTools } from "../../lib/runtime/build-tools.js";
import { childEnvironment, findProgram } from "../../lib/runtime/child-environment.js";
import { Lines, nodeProgram, runProgram, runProgramSync } from "../../lib/runtime/child-process.js";
import { detectCudaDriver } from "../../lib/runtime/libtorch/cuda-driver.js";
import { resolveLibtorch } from "../../lib/runtime/libtorch/find.js";
import { findPip, pipDownload } from "../../lib/runtime/libtorch/pip.js";
import { probeLibtorch } from "../../lib/runtime/libtorch/probe.js";
import { SourceUnavailable } from "../../lib/runtime/libtorch/progress.js";
import { temporaryFolder } from "./libtorch/fixtures.js";

const PROGRAMS = ["python3", "python", "pip3", "pip", "nvidia-smi", "cmake", "ninja", "make", "c++", "g++", "git"];
const MODULES = ["pip/__init__", "pip/__main__", "torch/__init__", "importlib/__init__", "os", "encodings"];
const repository = realpathSync(new URL("../..", import.meta.url));
const hasPython = runProgramSync("python3", ["--version"]).status === 0;

/** A clone or download whose every file, run or imported, leaves a mark. */
class HostileFolder {
  readonly path = temporaryFolder();
  readonly #marks = temporaryFolder();

  constructor() {
    // In the folder itself, that name is the module's.
    for (const folder of ["", "bin", join("node_modules", ".bin")])
      for (const name of PROGRAMS) if (folder || name !== "pip") this.#program(join(folder, name));
    for (const name of [...MODULES, "site", "sitecustomize", "usercustomize"]) {
      const file = join(this.path, `${name}.py`);
      mkdirSync(join(file, ".."), { recursive: true });
      writeFileSync(file, `open(${JSON.stringify(this.#mark(name))}, "w")\n`);
    }
  }

  #mark(name: string): string {
    return join(this.#marks, name.replaceAll("/", "+"));
  }

  #program(name: string): void {
    const file = join(this.path, name);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, `#!/bin/sh\n: > '${this.#mark(name)}'\necho 580.65.06, stolen\n`);
    chmodSync(file, 0o755);
  }

  /** The names of what was run. */
  get run(): string[] {
    return readdirSync(this.#marks);
  }
}

let hostile: HostileFolder;
let env: Record<string, string>;

/** Stands in the folder, with every way of the environment to look in the current directory. */
beforeEach(() => {
  hostile = new HostileFolder();
  const before = { folder: process.cwd(), path: process.env.PATH as string };
  onTestFinished(() => {
    process.chdir(before.folder);
    process.env.PATH = before.path;
  });
  process.chdir(hostile.path);
  const path = ["", ".", "./bin", "bin", join(hostile.path, "node_modules", ".bin"), before.path, ""].join(delimiter);
  process.env.PATH = path;
  env = { PATH: path, PYTHONPATH: [".", "", "lib"].join(delimiter), INSTRUCT_PIX2PIX_CACHE: temporaryFolder() };
});

describe.runIf(process.platform !== "win32")("in a hostile current directory", () => {
  it("the search for tools runs no program from it", async () => {
    detectCudaDriver();
    try {
      findBuildTools(env);
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_BUILD_TOOLS" });
    }
    await probeLibtorch({ root: hostile.path }, "cuda");
    expect(hostile.run).toEqual([]);
  });

  it.runIf(hasPython)("Python imports nothing from it, in any version", async () => {
    const pip = findPip(env);
    const wheel = { file: "no-1-py3-none-any.whl", requirement: "no==1", sha256: "", size: 1 };
    if (pip)
      await expect(
        pipDownload(pip, wheel, temporaryFolder(), { env: { ...env, PIP_NO_INDEX: "1" } }),
      ).rejects.toBeInstanceOf(SourceUnavailable);
    let root = "";
    try {
      root = resolveLibtorch({ env: { ...env, LIBTORCH_USE_PYTORCH: "1" } }).root;
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_LIBTORCH_NOT_FOUND" });
    }
    expect(root).not.toContain(hostile.path);
    // Versions before 3.11 know nothing of PYTHONSAFEPATH: the folder itself has to be harmless.
    const program = "import os, sys; print(os.getcwd()); print(os.listdir('.')); print(sys.path)";
    for (const variables of [{}, { PYTHONSAFEPATH: "" }]) {
      const { stdout } = runProgramSync("python3", ["-c", program], { env, variables });
      const [folder, content, path] = stdout.trim().split("\n") as [string, string, string];
      expect(content).toBe("[]");
      expect(path).not.toContain(hostile.path);
      expect(existsSync(folder)).toBe(false);
    }
    expect(hostile.run).toEqual([]);
  });
});

describe("a child process", () => {
  const print = (expression: string) => nodeProgram.args(`process.stdout.write(String(${expression}))`);

  it("runs in a private temporary folder, which is removed afterwards", async () => {
    const program = print(`process.cwd() + "\\n" + (require("fs").statSync(".").mode & 0o077)`);
    const results = [runProgramSync(nodeProgram.path, program), await runProgram(nodeProgram.path, program)];
    const folders = results.map(({ stdout }) => stdout.split("\n"));
    for (const [folder, mode] of folders) {
      expect(folder).toContain(realpathSync(tmpdir()));
      expect(existsSync(folder as string)).toBe(false);
      if (process.platform !== "win32") expect(mode).toBe("0");
    }
    expect(folders[0]![0]).not.toBe(folders[1]![0]);
    const { stdout } = runProgramSync(nodeProgram.path, print("process.cwd()"), { folder: repository });
    expect(stdout).toBe(repository);
  });

  it("of Node.js ignores options of the environment, which may name modules by relative paths", () => {
    const { status } = runProgramSync(nodeProgram.path, print("1"), {
      env: { ...process.env, NODE_OPTIONS: "--require ./evil.js" },
      variables: nodeProgram.variables,
    });
    expect(status).toBe(0);
  });

  it("that cannot be found or has a relative path is not started, and the result says so", async () => {
    for (const program of ["./python3", "bin/python3", "..", "", "no-such-program-of-ours"]) {
      const results = [runProgramSync(program, []), await runProgram(program, [])];
      for (const { status, error } of results)
        expect({ status, message: error?.message }).toEqual({
          status: null,
          message: `${program}: no such program (looked for in the absolute folders of PATH)`,
        });
    }
    const { status, error } = await runProgram("/nowhere/python3", []);
    expect({ status, code: (error as NodeJS.ErrnoException).code }).toEqual({ status: null, code: "ENOENT" });
    expect(hostile.run).toEqual([]);
  });

  it("that has ended is not killed later, nor waited for", async () => {
    const stop = new AbortController();
    const killAfter = vi.fn(() => 60_000);
    const { status } = await runProgram(nodeProgram.path, nodeProgram.args(""), { signal: stop.signal, killAfter });
    stop.abort();
    expect([status, killAfter.mock.calls.length]).toEqual([0, 0]);
  });

  it.skipIf(process.platform === "win32")("ends the program's own children along with it, if it is to", async () => {
    const grandchild = "process.stdout.write(String(process.pid)); setInterval(() => {}, 1000)";
    const program = `
      const { spawn } = require("node:child_process");
      spawn(process.execPath, ["-e", ${JSON.stringify(grandchild)}], { stdio: "inherit" });
    `;
    const stop = new AbortController();
    let printed = "";
    const { status } = await runProgram(nodeProgram.path, nodeProgram.args(program), {
      signal: stop.signal,
      killGroup: true,
      onOutput: (text) => {
        printed += text;
        stop.abort();
      },
    });
    // Its output has ended, so the grandchild no longer holds it.
    expect([status, printed]).toEqual([null, expect.stringMatching(/^\d+$/)]);
    await vi.waitFor(() => expect(() => process.kill(Number(printed), 0)).toThrow("ESRCH"), 30_000);
  });

  it("does not search the current directory, nor do its own children", () => {
    const child = childEnvironment(env, { MORE: "1" });
    const absolute = (value: string | undefined) => (value ?? "").split(delimiter);
    for (const entry of absolute(child.PATH)) expect(entry).toMatch(/^(\/|[A-Z]:\\)/i);
    expect(child.PATH).not.toContain(".bin");
    expect(child).toMatchObject({ PYTHONSAFEPATH: "1", MORE: "1" });
    expect("PYTHONPATH" in child).toBe(false);
    const kept = childEnvironment({ PATH: "", PYTHONPATH: ["/a", "b", "/c"].join(delimiter) });
    if (process.platform !== "win32") expect(kept).toMatchObject({ PATH: "", PYTHONPATH: "/a:/c" });
    expect(findProgram("python3", { PATH: "" })).toBeUndefined();
  });

  it("delivers its output in whole lines", () => {
    const seen: string[] = [];
    const lines = new Lines((line) => seen.push(line));
    for (const text of ["a", "b\r", "\nc\n", "\n", "d"]) lines.add(text);
    lines.end();
    lines.end();
    expect(seen).toEqual(["ab", "c", "", "d"]);
  });

  it("is started only by this one file, and no inline program imports from the current directory", () => {
    const files = (readdirSync(join(repository, "lib"), { recursive: true }) as string[]).filter((name) =>
      name.endsWith(".ts"),
    );
    const naming = (pattern: RegExp) =>
      files.filter((name) => pattern.test(readFileSync(join(repository, "lib", name), "utf8")));
    expect(naming(/child_process|node:cluster|process\.binding/)).toEqual([join("runtime", "child-process.ts")]);
    // The text of a program or a thread resolves what it requires from the current directory.
    const required = files.flatMap((name) =>
      [...readFileSync(join(repository, "lib", name), "utf8").matchAll(/\brequire\("([^"]+)"\)/g)].map(
        ([, what]) => what!,
      ),
    );
    expect(required.filter((what) => !what.startsWith("node:"))).toEqual([]);
  });
});

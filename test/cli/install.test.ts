import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { installCommand } from "../../lib/cli/install.js";
import { InstallProgress } from "../../lib/cli/install-progress.js";
import { libtorchFiles, makeZip, temporaryFolder, wheelFiles, writeTree } from "../runtime/libtorch/fixtures.js";
import { recordingIo } from "./io.js";

function cache(): { env: Record<string, string>; entry: string } {
  const folder = temporaryFolder();
  return {
    env: { INSTRUCT_PIX2PIX_CACHE: folder, PATH: "/nowhere" },
    entry: join(folder, "libtorch", "2.13.0-cpu", "torch"),
  };
}

describe("ip2p install", () => {
  it("says where libtorch is if it is installed, and does nothing", async () => {
    const { env, entry } = cache();
    writeTree(entry, libtorchFiles("2.13.0+cpu"));
    writeTree(join(entry, ".."), { "manifest.json": "{}" });
    const io = recordingIo(env);
    expect(await installCommand.execute(["--variant", "cpu"], io)).toBe(0);
    expect(io.out()).toBe(`libtorch 2.13.0+cpu (cpu) is already at ${entry}\n`);
    expect(io.err()).toBe("");
    const json = recordingIo(env);
    await installCommand.execute(["--variant=cpu", "--json"], json);
    expect(JSON.parse(json.out())).toEqual({ root: entry, version: "2.13.0+cpu", variant: "cpu", alreadyThere: true });
  });

  it("fails with a typed error, and nothing on standard output", async () => {
    const { env } = cache();
    const wheel = join(writeTree(temporaryFolder(), { "t.whl": makeZip(wheelFiles()) }), "t.whl");
    for (const [argv, code] of [
      [["--from", "/nowhere/at/all"], "ERR_FILE_NOT_FOUND"],
      // A tree of text files does not open.
      [["--from", wheel], "ERR_LIBTORCH"],
      [["--mirror", "ftp://somewhere"], "ERR_INVALID_ARGUMENT"],
      [["--from", wheel, "--mirror", "http://somewhere"], "ERR_INVALID_ARGUMENT"],
      [["--variant", "gpu"], "ERR_USAGE"],
      [["--frm", wheel], "ERR_USAGE"],
    ] as const) {
      const io = recordingIo(env);
      // Parsing may throw before there is a promise.
      await expect((async () => installCommand.execute(argv, io))()).rejects.toMatchObject({ code });
      expect(io.out()).toBe("");
    }
  });
});

describe("the progress of an installation", () => {
  const events = (progress: InstallProgress) => {
    progress.onEvent({ type: "message", text: "fetching a.whl" });
    for (let done = 0; done <= 100e6; done += 1e6)
      progress.onEvent({ type: "progress", phase: "download", file: "a.whl", done, total: 100e6 });
    progress.onEvent({ type: "progress", phase: "download", file: "b.whl", done: 10, total: 20 });
    progress.onEvent({ type: "progress", phase: "download", file: "c.whl", done: 10, total: undefined });
    progress.onEvent({ type: "message", text: "unpacking a.whl" });
    progress.stop();
  };

  it("is a line for every tenth of a big file where there is no terminal", () => {
    const io = recordingIo({});
    events(new InstallProgress(io.stderr));
    const lines = io.err().trimEnd().split("\n");
    expect(lines).toHaveLength(12);
    expect(lines[0]).toBe("fetching a.whl");
    expect(lines[1]).toBe("download a.whl: 10 % of 100 MB");
    expect(lines[10]).toBe("download a.whl: 100 % of 100 MB");
    expect(lines[11]).toBe("unpacking a.whl");
  });

  it("is a bar on a terminal", () => {
    const io = recordingIo({}, { terminal: true });
    Object.assign(io.stderr, { cursorTo: () => {}, clearLine: () => {}, moveCursor: () => {} });
    events(new InstallProgress(io.stderr));
    expect(io.err()).toMatch(/download .* 100% \| 100\/100 MB/);
    expect(io.err()).toContain("unpacking a.whl\n");
  });
});

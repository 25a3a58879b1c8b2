import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { type AnyCommand, defineCommand } from "../../lib/cli/command.js";
import { COMMANDS } from "../../lib/cli/commands.js";
import { runCommandLine } from "../../lib/cli/dispatch.js";
import { describeFailure } from "../../lib/cli/failure.js";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { flagText } from "../../lib/options/help.js";
import { readJson } from "../helpers/fixtures.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** A command that fails as it is told, or writes what it was given. */
function echo(error?: unknown) {
  return defineCommand({
    name: "echo",
    summary: "say it again",
    options: { many_words: { type: "string", required: true, help: "what to say" } },
    run: async ({ manyWords }, io) => {
      if (error) throw error;
      io.stdout.write(manyWords);
      return 0;
    },
  });
}

async function run(argv: string[], command: AnyCommand = echo()) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const entry = { name: command.name, summary: command.summary, load: async () => command };
  const status = await runCommandLine(argv, { stdout, stderr, env: {} }, [entry]);
  const text = (stream: PassThrough) => String(stream.read() ?? "");
  return { status, stdout: text(stdout), stderr: text(stderr) };
}

describe("ip2p", () => {
  it("runs the command with its options", async () => {
    expect(await run(["echo", "--many-words", "hello"])).toEqual({ status: 0, stdout: "hello", stderr: "" });
  });

  it("prints the version of the package", async () => {
    const { version } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as { version: string };
    expect(await run(["--version"])).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
  });

  it("prints its help, on standard error unless it was requested", async () => {
    const { status, stdout } = await run(["--help"]);
    expect(status).toBe(0);
    expect(stdout).toContain("echo  say it again");
    expect(await run(["help"])).toEqual({ status: 0, stdout, stderr: "" });
    expect(await run([])).toEqual({ status: 2, stdout: "", stderr: stdout });
  });

  it("prints a command's help, whatever its other arguments", async () => {
    const { status, stdout, stderr } = await run(["echo", "--nonsense", "-h"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^Usage: ip2p echo --many_words TEXT\n\nSay it again\.\n/);
    expect((await run(["help", "echo"])).stdout).toBe(stdout);
  });

  it.each([
    [["ecko"], 'ip2p: unknown command "ecko"; did you mean echo?\n'],
    [["--many_words", "x", "echo"], "ip2p: the command comes first, before --many_words; the commands are echo\n"],
    [["echo"], "ip2p: echo: --many_words must be given\n"],
    [["echo", "--many_word", "x"], "ip2p: echo: unknown option --many_word; did you mean --many_words?\n"],
  ])("refuses %j with status 2", async (argv, stderr) => {
    expect(await run(argv)).toEqual({ status: 2, stdout: "", stderr });
  });

  it("names an option by its flag, not by its name in the API", async () => {
    const error = new InstructPix2PixError("ERR_INVALID_ARGUMENT", 'manyWords must be fewer, not "manyWords!"');
    const { status, stderr } = await run(["echo", "--many_words", "x"], echo(error));
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'ip2p: --many_words must be fewer, not "manyWords!"\n',
    });
  });

  it("says that it was cancelled", async () => {
    const error = new InstructPix2PixError("ERR_ABORTED", "the operation was aborted", { cause: "SIGINT" });
    const { status, stderr } = await run(["echo", "--many_words", "x"], echo(error));
    expect({ status, stderr }).toEqual({ status: 1, stderr: "ip2p: cancelled (SIGINT)\n" });
  });

  it.each([
    ["edit", "--num_inference_steps"],
    ["train", "--max_train_steps"],
    ["install", "--variant"],
  ])("shows the help of %s without loading its implementation", (command, option) => {
    const folder = mkdtempSync(join(tmpdir(), "ip2p-help-"));
    try {
      // Node.js reports the coverage of every module that it has loaded.
      const env = { ...process.env, NODE_V8_COVERAGE: folder };
      expect(spawnSync(process.execPath, [main, command, "--help"], { encoding: "utf8", env }).stdout).toContain(
        option,
      );
      const { result } = readJson<{ result: { url: string }[] }>(join(folder, readdirSync(folder)[0]!));
      const loaded = result.map(({ url }) => url).filter((url) => url.startsWith("file:"));
      expect(loaded.length).toBeGreaterThan(5);
      expect(loaded.length).toBeLessThan(50);
      const heavy = /node_modules\/|dist\/(native\/native|pipelines|models)/;
      expect(loaded.filter((url) => heavy.test(url))).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("every command", () => {
  it.each(COMMANDS)(
    "$name is listed with its own words, and documents its options",
    async ({ name, summary, load }) => {
      const command = await load();
      expect([command.name, command.summary]).toEqual([name, summary]);
      for (const [option, declaration] of Object.entries(command.options)) {
        expect(option).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
        expect(declaration.help).toMatch(/^[^\n]{3,}[^.\n]$/);
        // `--no_x` is for booleans that are on by default.
        expect(option).not.toMatch(/^no_/);
        expect(flagText(option, declaration).length).toBeLessThan(60);
      }
    },
  );
});

describe("an error", () => {
  it("stays on one line and cannot control the terminal", () => {
    const error = new InstructPix2PixError("ERR_STATE_DICT", "tensor \u001b]0;x\u0007a\nb\tc\u202e\u009b is odd");
    expect(describeFailure(error, false)).toBe("tensor \\u001b]0;x\\u0007a\\nb\\tc\\u202e\\u009b is odd");
  });

  it("lists what was tried if it is about the installation", () => {
    const error = new InstructPix2PixError("ERR_LIBTORCH_NOT_FOUND", "not found\n  tried: \u001b[2J");
    expect(describeFailure(error, false)).toBe("not found\n  tried: \\u001b[2J");
  });

  it("is called internal if it is not an InstructPix2PixError", () => {
    expect(describeFailure(new TypeError("x is undefined"), false)).toMatch(/^internal error: x is undefined;/);
    expect(describeFailure("thrown text", false)).toMatch(/^internal error: thrown text;/);
  });

  it("shows its code, its stack and its causes if --verbose", () => {
    const error = new InstructPix2PixError("ERR_IO", "cannot write", { cause: new Error("ENOSPC") });
    expect(describeFailure(error, true)).toMatch(
      /^cannot write\n\[ERR_IO\] InstructPix2PixError: cannot write\n {4}at [\s\S]+\ncaused by Error: ENOSPC\n {4}at /,
    );
  });
});

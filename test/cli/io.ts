import { Writable } from "node:stream";
import type { CommandIo } from "../../lib/cli/command.js";
import type { Environment } from "../../lib/runtime/platform.js";

/** Streams whose text can be read afterwards. */
export function recordingIo(
  env: Environment,
  { terminal = false } = {},
): CommandIo & { out: () => string; err: () => string } {
  const texts = { out: "", err: "" };
  const stream = (key: keyof typeof texts) =>
    Object.assign(
      new Writable({
        write(chunk, _, done) {
          texts[key] += String(chunk);
          done();
        },
      }),
      { isTTY: terminal, columns: 100 },
    );
  return { stdout: stream("out"), stderr: stream("err"), env, out: () => texts.out, err: () => texts.err };
}

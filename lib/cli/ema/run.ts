import { counted } from "../../core/counted.js";
import { makeEma } from "../../training/post-hoc-ema/make-ema.js";
import type { CommandIo } from "../command.js";
import { JsonLines } from "../json-lines.js";
import { reported } from "../reporting.js";
import { type EmaValues, emaOptions } from "./options.js";

/** Runs `ip2p ema`. */
export async function runEma(values: EmaValues, io: CommandIo): Promise<number> {
  const { json, progress, quiet, verbose, ...options } = values;
  const lines = json ? new JsonLines({ progress, quiet }, io, emaOptions) : undefined;
  const warn = (message: string) => {
    if (lines) lines.event("warning", { message });
    else if (!quiet) io.stderr.write(`ip2p: warning: ${message}\n`);
  };
  await reported({ failed: (error) => lines?.failed(error), stop() {} }, warn, async () => {
    const { step, snapshots, averaged } = await makeEma({
      ...options,
      signal: io.signal,
      onProgress: (state) => lines?.progress("progress", state),
    });
    if (lines) lines.done({ step, snapshots, averaged });
    else if (!quiet)
      io.stdout.write(
        `${options.output}: the weights up to step ${step} in an average of width ${options.width}, from ${counted(snapshots, "snapshot")}\n`,
      );
  });
  return 0;
}

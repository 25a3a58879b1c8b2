#!/usr/bin/env node
import "../core/symbols.js"; // before everything else
import { runCommandLine } from "./dispatch.js";
import { describeFailure } from "./failure.js";
import { endWithLauncher } from "./lifeline.js";
import { cancelOnSignals } from "./signals.js";
import { showWarnings } from "./warnings.js";

// A reader that closes the pipe early, such as `head`, must not cause a stack trace.
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });

for (const event of ["uncaughtException", "unhandledRejection"])
  process.on(event, (error: unknown) => {
    process.stderr.write(`ip2p: ${describeFailure(error, process.argv.includes("--verbose"))}\n`);
    process.exit(1);
  });

const { stdout, stderr, env } = process;
const cancellation = cancelOnSignals(stderr);
endWithLauncher(
  env,
  () => process.stdin,
  () => cancellation.cancel("SIGTERM"),
);
showWarnings((text) => stderr.write(`ip2p: warning: ${text}\n`));
const status = await runCommandLine(process.argv.slice(2), { stdout, stderr, env, signal: cancellation.signal });
process.exitCode = cancellation.statusFor(status);
cancellation.stop();

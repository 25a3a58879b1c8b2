// Runs programs one after the other in one process, each in its own folder: loading the package takes longer than most of
// them. Prints one JSON object per program.
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { pathToFileURL } from "node:url";

for (const path of process.argv.slice(2)) {
  const outcome = { path, status: 0, stdout: "", stderr: "" };
  const restore = ["stdout", "stderr"].map((name) => {
    const stream = process[name];
    const write = stream.write;
    stream.write = (text) => {
      outcome[name] += String(text);
      return true;
    };
    return () => {
      stream.write = write;
    };
  });
  process.chdir(dirname(path));
  try {
    await import(pathToFileURL(path).href);
    // Warnings come behind what caused them.
    await setImmediate();
  } catch (error) {
    outcome.status = 1;
    outcome.stderr += error.stack;
  }
  outcome.status ||= process.exitCode ?? 0;
  process.exitCode = undefined;
  for (const undo of restore) undo();
  console.log(JSON.stringify(outcome));
}

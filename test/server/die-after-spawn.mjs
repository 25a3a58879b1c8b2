// Preloaded into a server: it is killed at the moment at which it has started a training process, before it has noted which.
// With DIE_AFTER_SPAWN=stop that process is stopped first, as if it were slow to begin.
import childProcess from "node:child_process";
import { writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { spawn } = childProcess;
childProcess.spawn = (program, args, options) => {
  const child = spawn(program, args, options);
  if (args.includes("train")) {
    writeFileSync(process.env.DIE_PID_FILE, String(child.pid));
    if (process.env.DIE_AFTER_SPAWN === "stop") process.kill(child.pid, "SIGSTOP");
    process.kill(process.pid, "SIGKILL");
  }
  return child;
};
syncBuiltinESMExports();

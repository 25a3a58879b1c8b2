import { readdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { isRunning } from "../../lib/server/jobs/training.js";

/** The name of a ticket that a training process has taken, with its number and its start; see `StartTicket`. */
const TAKEN = /\.taken-(\d+)-(\d+)$/;

/** Ends the training processes of a folder of jobs, which live on when their server ends. */
export async function endTraining(folder: string): Promise<void> {
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const [, pid, started] = TAKEN.exec(name) ?? [];
    if (pid === undefined) continue;
    const training = { pid: Number(pid), started: Number(started) };
    if (!(await isRunning(training))) continue;
    process.kill(training.pid, "SIGKILL");
    while (await isRunning(training)) await delay(20);
  }
}

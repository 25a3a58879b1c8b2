import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StartTicket } from "../../lib/server/jobs/start-ticket.js";
import { endProcess, isRunning } from "../../lib/server/jobs/training.js";
import { MOST_ATTEMPTS } from "../../lib/server/jobs/training-jobs.js";

/** Ends the training processes of a folder of jobs, which live on when their server ends, and keeps late ones from training. */
export async function endTraining(folder: string): Promise<void> {
  for (const job of readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
    for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
      const training = await new StartTicket(join(folder, job.name), attempt).settle();
      if (!training) continue;
      await endProcess(training, "SIGKILL");
      while (await isRunning(training)) await delay(20);
    }
}

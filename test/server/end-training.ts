import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { JobRecord } from "../../lib/server/jobs/job.js";
import { isRunning } from "../../lib/server/jobs/training.js";

/** Ends the training processes of a folder of jobs, which live on when their server ends. */
export async function endTraining(folder: string): Promise<void> {
  for (const job of readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
    const { process: training }: Partial<JobRecord> = JSON.parse(
      readFileSync(join(folder, job.name, "job.json"), "utf8"),
    );
    if (training && (await isRunning(training))) process.kill(training.pid, "SIGKILL");
  }
}

import { checkDataset } from "../../data/check/check-dataset.js";
import { hasFindings } from "../../data/check/report.js";
import type { CommandIo } from "../command.js";
import { rounded } from "../json-lines.js";
import { createPairsReporter } from "../pairs/reporter.js";
import { reported } from "../reporting.js";
import { type CheckDatasetValues, checkDatasetOptions } from "./options.js";
import { describeReport, snakeCased } from "./text.js";

/** Runs `ip2p check-dataset`. */
export async function runCheckDataset(values: CheckDatasetValues, io: CommandIo): Promise<number> {
  const { json, progress, quiet, verbose, strict, ...options } = values;
  const reporter = createPairsReporter(
    { json, progress, quiet, verb: "reading", declarations: checkDatasetOptions },
    io,
  );
  let status = 0;
  await reported(
    reporter,
    (message) => reporter.warning(message),
    async () => {
      const started = performance.now();
      const report = await checkDataset({
        ...options,
        signal: io.signal,
        onProgress: ({ done, total }) => reporter.progress(done, total),
      });
      if (report.unusable.count > 0 || (strict && hasFindings(report))) status = 1;
      const seconds = rounded((performance.now() - started) / 1000);
      reporter.done(describeReport(report), { ...snakeCased(report), seconds });
    },
  );
  return status;
}

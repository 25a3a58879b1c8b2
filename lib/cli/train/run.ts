import { train } from "../../training/train.js";
import type { CommandIo } from "../command.js";
import { showWarnings } from "../warnings.js";
import type { TrainValues } from "./options.js";
import { createTrainReporter } from "./reporter.js";

/** Runs `ip2p train`. */
export async function runTrain(values: TrainValues, io: CommandIo): Promise<number> {
  const reporter = createTrainReporter(values, io);
  const restoreWarnings = showWarnings((text) => reporter.event({ type: "warning", message: text }));
  const { json, progress, quiet, verbose, ...options } = values;
  try {
    const result = await train({
      ...options,
      signal: io.signal,
      onEvent: (event) => reporter.event(event),
      onStep: (record) => reporter.step(record),
    });
    reporter.done(result);
    return 0;
  } catch (error) {
    reporter.failed(error);
    throw error;
  } finally {
    // Warnings are delivered a tick after they were given.
    await new Promise(setImmediate);
    reporter.stop();
    restoreWarnings();
  }
}

import type { TrainEvent } from "../../training/events.js";
import { train } from "../../training/train.js";
import type { CommandIo } from "../command.js";
import { asFlags } from "../failure.js";
import { reported } from "../reporting.js";
import { type TrainValues, trainCommandOptions } from "./options.js";
import { createTrainReporter } from "./reporter.js";

/** With options named as flags. */
function inFlags(event: TrainEvent): TrainEvent {
  return event.type === "warning" ? { ...event, message: asFlags(event.message, trainCommandOptions) } : event;
}

/** Runs `ip2p train`. */
export async function runTrain(values: TrainValues, io: CommandIo): Promise<number> {
  const reporter = createTrainReporter(values, io);
  const { json, progress, quiet, verbose, ...options } = values;
  const warn = (message: string) => reporter.event({ type: "warning", message });
  await reported(reporter, warn, async () => {
    const result = await train({
      ...options,
      signal: io.signal,
      onEvent: (event) => reporter.event(inFlags(event)),
      onStep: (record) => reporter.step(record),
    });
    reporter.done(result);
  });
  return 0;
}

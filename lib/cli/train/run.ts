import { placeFromEnvironment } from "../../distributed/place.js";
import type { TrainEvent } from "../../training/events.js";
import { train } from "../../training/train.js";
import type { CommandIo } from "../command.js";
import { asFlags } from "../failure.js";
import { reported } from "../reporting.js";
import { type TrainValues, trainCommandOptions } from "./options.js";
import { createTrainReporter } from "./reporter.js";

/** How long a process of several may take to end after an error. */
const EXIT_MS = 1_500;

/** With options named as flags. */
function inFlags(event: TrainEvent): TrainEvent {
  return event.type === "warning" ? { ...event, message: asFlags(event.message, trainCommandOptions) } : event;
}

/** Runs `ip2p train`. */
export async function runTrain(values: TrainValues, io: CommandIo): Promise<number> {
  const place = placeFromEnvironment(io.env);
  // c10d and Gloo write to standard error, too, what the errors here say, but not to users.
  if (place) {
    process.env.TORCH_CPP_LOG_LEVEL ??= "FATAL";
    process.env.GLOO_LOG_LEVEL ??= "UNSET";
  }
  // Of several processes only rank 0 tells what all of them do.
  const isOther = place !== undefined && place.rank > 0;
  const reporter = createTrainReporter(isOther ? { json: false, progress: false, quiet: true } : values, io);
  const { json, progress, quiet, verbose, ...options } = values;
  const warn = (message: string) => reporter.event({ type: "warning", message });
  const work = reported(reporter, warn, async () => {
    const result = await train({
      ...options,
      signal: io.signal,
      onEvent: (event) => reporter.event(inFlags(event)),
      onStep: (record) => reporter.step(record),
    });
    reporter.done(result);
  });
  // An exchange with a process that has gone may hang, and would keep this one alive.
  if (place) work.catch(() => setTimeout(() => process.exit(process.exitCode || 1), EXIT_MS).unref());
  await work;
  return 0;
}

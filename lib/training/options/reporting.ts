import { declareOptions } from "../../options/declaration.js";

const GROUP = "Reporting";

/** Metrics and trackers. */
export const reportingOptions = declareOptions({
  logging_dir: {
    type: "string",
    value: "DIR",
    default: "logs",
    group: GROUP,
    mayChange: true,
    help: "where TensorBoard files go, below the output folder",
  },
  report_to: {
    type: "string",
    value: "tensorboard|wandb|all|none",
    default: "tensorboard",
    group: GROUP,
    mayChange: true,
    help: "trackers; metrics.jsonl is always written",
  },
  profile: {
    type: "integer",
    min: 1,
    max: 100,
    value: "STEPS",
    group: GROUP,
    mayChange: true,
    help: "write how long the parts of so many steps and their operators take, after the first two, to profile.json in the output folder, as a trace for chrome://tracing and ui.perfetto.dev",
  },
});

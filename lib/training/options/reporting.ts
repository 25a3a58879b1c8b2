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
});

import { declareOptions } from "../../options/declaration.js";

const GROUP = "Checkpoints";

/** Checkpoints and resuming. */
export const checkpointOptions = declareOptions({
  checkpointing_steps: {
    type: "integer",
    min: 1,
    default: 500,
    group: GROUP,
    mayChange: true,
    help: "save a checkpoint every so many steps",
  },
  checkpoints_total_limit: {
    type: "integer",
    min: 1,
    group: GROUP,
    mayChange: true,
    help: "how many checkpoints of this run to keep",
  },
  resume_from_checkpoint: {
    type: "string",
    value: "DIR|latest",
    group: GROUP,
    mayChange: true,
    help: "resume from a checkpoint, also one of diffusers' script; latest is the newest valid one of the run that wrote last into the output folder, if any",
  },
  allow_changed_options: {
    type: "boolean",
    group: GROUP,
    mayChange: true,
    help: "resume although options that affect the results differ",
  },
});

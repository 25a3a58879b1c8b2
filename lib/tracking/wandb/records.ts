import { hostname } from "node:os";
import { toJson } from "../../files/json.js";
import { bytes, type Encoded, integer, message } from "../protobuf.js";
import type { TrackedConfig } from "../tracker.js";
import type { WandbSettings } from "./settings.js";

/** The records of a `.wandb` file that a run needs, with the field numbers of W&B's wandb_internal.proto. */

/** The oldest server that can take such a run, as W&B's own clients write it. */
const OLDEST_SERVER = "0.70.0";
const MEDIA = 2;

export function headerRecord(producer: string): Encoded {
  return bytes(21, bytes(1, message(bytes(1, producer), bytes(2, OLDEST_SERVER))));
}

export function runRecord(settings: WandbSettings, config: TrackedConfig, startTime: number): Encoded {
  const start = message(integer(1, Math.floor(startTime / 1000)), integer(2, (startTime % 1000) * 1e6));
  return bytes(
    17,
    message(
      bytes(1, settings.runId),
      bytes(2, settings.entity ?? ""),
      bytes(3, settings.project),
      bytes(4, items(1, config)),
      bytes(6, settings.group ?? ""),
      bytes(7, settings.jobType ?? ""),
      bytes(8, settings.displayName ?? ""),
      bytes(9, settings.notes ?? ""),
      ...(settings.tags ?? []).map((tag) => bytes(10, tag)),
      bytes(13, hostname()),
      bytes(17, start),
    ),
  );
}

export function historyRecord(step: number, values: Readonly<Record<string, unknown>>): Encoded {
  return bytes(2, message(items(1, values), bytes(2, integer(1, step))));
}

export function summaryRecord(values: Readonly<Record<string, unknown>>): Encoded {
  return bytes(3, items(1, values));
}

/** @param path below the run's folder of files */
export function mediaFileRecord(path: string): Encoded {
  return bytes(6, bytes(1, message(bytes(1, path), integer(3, MEDIA))));
}

export function exitRecord(exitCode: number, seconds: number): Encoded {
  return bytes(18, message(integer(1, exitCode), integer(2, Math.round(seconds))));
}

/** A record with its number in the file, from 1. */
export function numbered(number: number, record: Encoded): Encoded {
  return message(integer(1, number), record);
}

function items(field: number, values: Readonly<Record<string, unknown>>): Encoded {
  return message(
    ...Object.entries(values).map(([key, value]) => bytes(field, message(bytes(1, key), bytes(16, toJson(value))))),
  );
}

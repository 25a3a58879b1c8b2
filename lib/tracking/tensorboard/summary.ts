import { bytes, double, type Encoded, float, integer, message } from "../protobuf.js";

/**
 * The messages of TensorBoard's event files that a run needs, with the field numbers of TensorFlow's event.proto,
 * summary.proto and tensor.proto and of the hparams plugin's plugin_data.proto. A value is one `Summary.Value`.
 */

const FLOAT = 1;
const STRING = 7;
const RGB = 3;
const SESSION_START = 1;

/** The first event of a file. */
export function versionEvent(wallTime: number): Encoded {
  return message(double(1, wallTime), bytes(3, "brain.Event:2"));
}

/** Tells readers to discard earlier files' values from this step on. */
export function restartEvent(wallTime: number, step: number): Encoded {
  return message(double(1, wallTime), integer(2, step), bytes(7, integer(1, SESSION_START)));
}

export function summaryEvent(wallTime: number, step: number, values: readonly Encoded[]): Encoded {
  const summary = message(...values.map((value) => bytes(1, value)));
  return message(double(1, wallTime), integer(2, step), bytes(5, summary));
}

export function scalar(name: string, value: number): Encoded {
  return message(bytes(1, name), float(2, value));
}

/** @param png an encoded image */
export function image(name: string, width: number, height: number, png: Uint8Array): Encoded {
  const picture = message(integer(1, height), integer(2, width), integer(3, RGB), bytes(4, png));
  return message(bytes(1, name), bytes(4, picture));
}

/** A text, which TensorBoard shows as Markdown. */
export function text(name: string, markdown: string): Encoded {
  const tensor = message(integer(1, STRING), bytes(2, bytes(2, integer(1, 1))), bytes(8, markdown));
  return message(bytes(1, `${name}/text_summary`), bytes(8, tensor), bytes(9, plugin("text")));
}

/** A run's options, for the hyperparameter tab; null is not shown. */
export function sessionStart(
  config: Readonly<Record<string, string | number | boolean | null>>,
  startTime: number,
): Encoded {
  const entries = Object.entries(config).flatMap(([name, value]) =>
    value === null ? [] : [bytes(1, message(bytes(1, name), bytes(2, anyValue(value))))],
  );
  return hparams("session_start_info", bytes(3, message(...entries, double(5, startTime))));
}

export function sessionEnd(succeeded: boolean, endTime: number): Encoded {
  return hparams("session_end_info", bytes(4, message(integer(1, succeeded ? 1 : 2), double(2, endTime))));
}

/** google.protobuf.Value */
function anyValue(value: string | number | boolean): Encoded {
  if (typeof value === "number") return double(2, value);
  return typeof value === "string" ? bytes(3, value) : integer(4, Number(value));
}

function hparams(name: string, data: Encoded): Encoded {
  const nothing = message(integer(1, FLOAT), bytes(2, bytes(2, integer(1, 0))));
  return message(bytes(1, `_hparams_/${name}`), bytes(8, nothing), bytes(9, plugin("hparams", data)));
}

function plugin(name: string, content: Encoded = message()): Encoded {
  return bytes(1, message(bytes(1, name), bytes(2, content)));
}

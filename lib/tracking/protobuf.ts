/**
 * The part of Protocol Buffers' wire format (https://protobuf.dev/programming-guides/encoding) that is needed to write
 * messages: each function encodes one field, and a message is its fields one after the other. Fields with default
 * values may be omitted.
 */

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** A message, or a part of one. */
export type Encoded = Uint8Array;

/** Concatenates fields. */
export function message(...fields: readonly Encoded[]): Encoded {
  return Buffer.concat(fields);
}

/** int32, int64, uint32, uint64, bool or enum, not negative and at most 2⁵³ − 1. */
export function integer(field: number, value: number): Encoded {
  return message(tag(field, VARINT), varint(value));
}

export function float(field: number, value: number): Encoded {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return message(tag(field, FIXED32), bytes);
}

export function double(field: number, value: number): Encoded {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return message(tag(field, FIXED64), bytes);
}

/** string, bytes or a message. */
export function bytes(field: number, value: string | Encoded): Encoded {
  const content = typeof value === "string" ? Buffer.from(value) : value;
  return message(tag(field, LENGTH_DELIMITED), varint(content.length), content);
}

function tag(field: number, wireType: number): Encoded {
  return varint(field * 8 + wireType);
}

function varint(value: number): Encoded {
  const groups: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) groups.push((value % 128) + 128);
  return Uint8Array.from([...groups, value]);
}

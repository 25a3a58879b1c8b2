/** A message, read without knowing its type: the values of each field by its number. */
export type Message = Map<number, (number | bigint | Buffer)[]>;

export function decode(bytes: Buffer): Message {
  const fields: Message = new Map();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    let value: number | bigint | Buffer;
    switch (tag & 7) {
      case 0:
        value = varint();
        break;
      case 1:
        value = bytes.readDoubleLE(at);
        at += 8;
        break;
      case 2: {
        const length = Number(varint());
        value = bytes.subarray(at, at + length);
        if (value.length < length) throw new Error("a field is longer than its message");
        at += length;
        break;
      }
      case 5:
        value = bytes.readFloatLE(at);
        at += 4;
        break;
      default:
        throw new Error(`wire type ${tag & 7}`);
    }
    fields.set(tag >> 3, [...(fields.get(tag >> 3) ?? []), value]);
  }
  return fields;
}

export function sub(message: Message | undefined, field: number): Message | undefined {
  const value = message?.get(field)?.[0];
  return value instanceof Buffer ? decode(value) : undefined;
}

export function text(message: Message | undefined, field: number): string | undefined {
  const value = message?.get(field)?.[0];
  return value instanceof Buffer ? value.toString() : undefined;
}

/** CRC-32C bit by bit, masked as in TFRecord files. */
function maskedCrc(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** The records of a TFRecord file; a record that is cut off ends them, a wrong checksum is an error. */
export function records(file: Buffer): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at + 12 <= file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    if (file.readUInt32LE(at + 8) !== maskedCrc(file.subarray(at, at + 8))) throw new Error(`length at ${at}`);
    if (at + 12 + length + 4 > file.length) break;
    const data = file.subarray(at + 12, at + 12 + length);
    if (file.readUInt32LE(at + 12 + length) !== maskedCrc(data)) throw new Error(`data at ${at}`);
    all.push(data);
    at += 16 + length;
  }
  return all;
}

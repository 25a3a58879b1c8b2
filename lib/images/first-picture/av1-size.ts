/** Types of the units of an AV1 stream (AV1 specification, 6.2.2). */
const UNIT = { sequenceHeader: 1, frameHeader: 3, frame: 6 };
/** A setting that each frame makes for itself. */
const BY_FRAME = 2;

/** The width and height of images in pixels. */
export interface PixelSize {
  readonly width: number;
  readonly height: number;
}

/**
 * The size that an AV1 stream of one image has by itself, whatever the file around it says: that of its sequence header
 * (AV1 specification, 5.5).
 *
 * @param bytes the start of the stream
 * @returns undefined for a stream that does not begin with a sequence header and a key frame, or whose frame has a size of
 *   its own
 * @throws RangeError for one that ends within its headers
 */
export function av1Size(bytes: Buffer): PixelSize | undefined {
  let sequence: Sequence | undefined;
  for (let at = 0; at < bytes.length; ) {
    const head = bytes.readUInt8(at++);
    const type = (head >> 3) & 15;
    if ((head & 4) !== 0) at++;
    let size = bytes.length - at;
    if ((head & 2) !== 0) [size, at] = leb128(bytes, at);
    const bits = new Bits(bytes.subarray(at, at + size));
    if (type === UNIT.sequenceHeader) sequence = readSequence(bits);
    if (type === UNIT.frameHeader || type === UNIT.frame)
      return sequence && !hasOwnSize(bits, sequence) ? sequence.size : undefined;
    at += size;
  }
  return undefined;
}

/** What of a sequence header is needed to read the size and the first fields of a frame. */
interface Sequence {
  readonly size: PixelSize;
  /** One frame without choices of its own. */
  readonly reduced: boolean;
  /** Bits of a frame's presentation time, 0 without one. */
  readonly timeBits: number;
  /** Bits of a frame's number, 0 without one. */
  readonly idBits: number;
  readonly screenContent: number;
  readonly integerMotion: number;
}

function readSequence(bits: Bits): Sequence {
  bits.take(4); // profile, still image
  const reduced = bits.flag();
  let timeBits = 0;
  if (reduced) bits.take(5);
  else timeBits = readOperatingPoints(bits);
  const [widthBits, heightBits] = [bits.take(4) + 1, bits.take(4) + 1];
  const size = { width: bits.take(widthBits) + 1, height: bits.take(heightBits) + 1 };
  if (reduced) return { size, reduced, timeBits: 0, idBits: 0, screenContent: BY_FRAME, integerMotion: BY_FRAME };
  let idBits = 0;
  if (bits.flag()) {
    const difference = bits.take(4) + 2;
    idBits = difference + bits.take(3) + 1;
  }
  bits.take(7); // superblocks, filters, compound, warped motion, dual filter
  if (bits.flag()) bits.take(2); // order hints, and what needs them
  const screenContent = bits.flag() ? BY_FRAME : bits.take(1);
  const integerMotion = screenContent > 0 && !bits.flag() ? bits.take(1) : BY_FRAME;
  return { size, reduced, timeBits, idBits, screenContent, integerMotion };
}

/** Passes over timing and operating points; returns the bits of a frame's presentation time. */
function readOperatingPoints(bits: Bits): number {
  let [timeBits, delayBits] = [0, 0];
  if (bits.flag()) {
    bits.take(32);
    bits.take(32);
    const equalIntervals = bits.flag();
    if (equalIntervals) bits.exponential();
    if (bits.flag()) {
      delayBits = bits.take(5) + 1;
      bits.take(32);
      bits.take(5);
      const presentation = bits.take(5) + 1;
      timeBits = equalIntervals ? 0 : presentation;
    }
  }
  const delays = bits.flag();
  for (let points = bits.take(5) + 1; points > 0; points--) {
    bits.take(12);
    if (bits.take(5) > 7) bits.take(1);
    if (delayBits > 0 && bits.flag()) {
      bits.take(delayBits);
      bits.take(delayBits);
      bits.take(1);
    }
    if (delays && bits.flag()) bits.take(4);
  }
  return timeBits;
}

/** Whether a frame is no shown key frame, or says a size that may differ from its sequence's (5.9.2). */
function hasOwnSize(bits: Bits, { reduced, timeBits, idBits, screenContent, integerMotion }: Sequence): boolean {
  if (reduced) return false;
  const SHOWN_KEY_FRAME = 1;
  if (bits.take(4) !== SHOWN_KEY_FRAME) return true;
  bits.take(timeBits);
  bits.take(1);
  const forScreens = screenContent === BY_FRAME ? bits.flag() : screenContent === 1;
  if (forScreens && integerMotion === BY_FRAME) bits.take(1);
  bits.take(idBits);
  return bits.flag();
}

/** A number of seven bits a byte, the lowest first; and where it ends. */
function leb128(bytes: Buffer, start: number): [value: number, end: number] {
  let value = 0;
  for (let i = 0; i < 8; i++) {
    const byte = bytes.readUInt8(start + i);
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return [value, start + i + 1];
  }
  throw new RangeError("a size has too many bytes");
}

/** Reads bits, the highest of each byte first. */
class Bits {
  private at = 0;

  constructor(private readonly bytes: Buffer) {}

  flag(): boolean {
    return this.take(1) === 1;
  }

  take(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++, this.at++)
      value = value * 2 + ((this.bytes.readUInt8(this.at >> 3) >> (7 - (this.at & 7))) & 1);
    return value;
  }

  /** Passes over a number in an exponential code. */
  exponential(): void {
    let zeros = 0;
    while (!this.flag()) zeros++;
    if (zeros < 32) this.take(zeros);
  }
}

import type { Float16Elements, TensorData } from "../runtime/contract/index.js";

// A realm is a global object with its own built-in classes. jest and vitest's vm pools run each file of tests in a realm of
// its own, and the addon makes arrays of the realm that loaded it first in the thread.

export type TypedArray = TensorData | Float16Elements;

const typedArrayTag = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!;

/** "Float32Array", … for a typed array of any realm, whatever its prototype; undefined for everything else. */
export function nameOfTypedArray(data: unknown): string | undefined {
  return typedArrayTag.get!.call(data) as string | undefined;
}

/** The same elements as a typed array of this realm. */
export function ofThisRealm<T extends TensorData>(data: T): T {
  const Own = (
    globalThis as unknown as Record<string, new (buffer: ArrayBufferLike, offset: number, length: number) => T>
  )[nameOfTypedArray(data)!]!;
  return data instanceof Own ? data : new Own(data.buffer, data.byteOffset, data.length);
}

/** The same elements as an array of this realm. */
export function listOfThisRealm<T>(list: readonly T[]): T[] {
  return Array.from(list);
}

/**
 * All bytes of an answer, decompressed as they come; undefined, and no more of it is taken, once there are more than
 * `most`. Whoever sends it may announce less than that, or nothing.
 */
export async function readBody(body: AsyncIterable<Uint8Array> | null, most: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > most) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

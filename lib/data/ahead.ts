/**
 * The results for each index, in order, with some of the next ones under way.
 *
 * @param count of indices
 * @param width results that are under way at most
 */
export async function* ahead<T>(count: number, width: number, read: (index: number) => Promise<T>): AsyncGenerator<T> {
  const pending: Promise<T>[] = [];
  try {
    for (let index = 0; index < count; index++) {
      const result = read(index);
      // If the consumer stops early, pending results must not cause unhandled rejections.
      result.catch(() => {});
      pending.push(result);
      if (pending.length >= width) yield await pending.shift()!;
    }
    while (pending.length > 0) yield await pending.shift()!;
  } finally {
    await Promise.allSettled(pending);
  }
}

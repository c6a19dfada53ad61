/** Arrivals as they come to a store: so many at once. */

/** Of a backend. */
const batchSize = 256;

/** @returns all of them in their order; the last batch may be smaller */
export function* inBatches<T>(items: Iterable<T>): Generator<T[]> {
  let batch: T[] = [];
  for (const item of items) {
    batch.push(item);
    if (batch.length < batchSize) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

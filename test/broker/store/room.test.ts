import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreRoom } from '../../../broker/store/room.ts';
import type { NoRoom } from '../../../broker/store/room.ts';

/** A store of 1000 bytes on a disk that is to have 100 left. */
class Bench {
  usedBytes = 0;
  freeBytes = 10_000;
  nowMs = 0;
  looks = 0;
  readonly changes: (NoRoom | undefined)[] = [];
  readonly room = new StoreRoom({
    limits: { storeBytesMax: 1000, diskFreeBytesMin: 100 },
    onChange: ({ full }) => this.changes.push(full),
    monotonicMs: () => this.nowMs,
  });

  constructor() {
    const usedBytes = (): number => {
      this.looks++;
      return this.usedBytes;
    };
    this.room.watch({ usedBytes, freeBytes: () => this.freeBytes });
  }
}

test('StoreRoom: it is full at nine tenths, and takes up again below eight', () => {
  const bench = new Bench();
  const seen: boolean[] = [];
  for (const usedBytes of [899, 900, 850, 800, 799, 850]) {
    bench.usedBytes = usedBytes;
    bench.room.look();
    seen.push(bench.room.isFull);
  }
  assert.deepEqual(seen, [false, true, true, true, false, false]);
  assert.deepEqual(bench.changes, ['store_bytes_max', undefined]);
});

test('StoreRoom: it is full while too little is left of the disk, whoever filled it', () => {
  const bench = new Bench();
  const seen: boolean[] = [];
  for (const freeBytes of [100, 99, 124, 125]) {
    bench.freeBytes = freeBytes;
    bench.room.look();
    seen.push(bench.room.isFull);
  }
  assert.deepEqual(seen, [false, true, true, false]);
  assert.deepEqual(bench.changes, ['disk_free', undefined]);
});

test('StoreRoom: it measures when what was taken may have been too much, and not before', () => {
  const bench = new Bench();
  bench.usedBytes = 500;
  bench.room.look();
  bench.looks = 0;
  for (let taken = 0; taken < 400; taken += 50) bench.room.took(50);
  assert.equal(bench.looks, 0);
  bench.usedBytes = 600; // the others were acknowledged
  bench.room.took(1);
  assert.deepEqual([bench.looks, bench.room.isFull], [1, false]);
  bench.usedBytes = 900;
  bench.room.took(301);
  assert.deepEqual([bench.looks, bench.room.isFull], [2, true]);
});

test('StoreRoom: after writes that found no room it waits longer each time, and forgets them in the end', () => {
  const bench = new Bench();
  const waitedMs = (): number => {
    bench.room.writeFailed();
    bench.room.look();
    assert.equal(bench.room.state.full, 'write_failed');
    const beginMs = bench.nowMs;
    while (bench.room.isFull) {
      bench.nowMs += 500;
      bench.room.look();
    }
    return bench.nowMs - beginMs;
  };
  const waits = Array.from({ length: 8 }, waitedMs);
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  bench.nowMs += 600_000;
  assert.equal(waitedMs(), 1000);
});

test('StoreRoom: nothing is measured of a store that is closed', () => {
  const bench = new Bench();
  bench.room.unwatch();
  bench.looks = 0;
  bench.room.took(1_000_000);
  bench.room.look();
  assert.equal(bench.looks, 0);
});

import assert from 'node:assert/strict';
import { announcedSettleMs } from '../../database/announced.ts';
import type { Database } from '../../database/connect.ts';
import { noteStatus, readDevice, readFleet } from '../../database/fleet.ts';
import { readOpenGaps } from '../../database/gaps.ts';
import { createIngest } from '../../database/ingest.ts';
import { readTotals } from '../../database/totals.ts';
import { arrival, startMs } from './arrivals.ts';
import { freshDatabase, testBoth } from './engines.ts';

const device = 'ms-acc-1/acc-1/dev-1';
const neighbour = 'ms-acc-1/acc-1/dev-2';

async function say(database: Database, sentUpTo: number | undefined, nowMs: number): Promise<void> {
  const status = { state: 'online', agentVersion: '1' } as const;
  await noteStatus(database, device, sentUpTo === undefined ? status : { ...status, sentUpTo }, nowMs);
}

/** As every page counts them, which must agree. */
async function gaps(database: Database, nowMs: number): Promise<[number, number][]> {
  const found = await readOpenGaps(database, '', device, nowMs);
  const { gapsOpen } = await readTotals(database, '', nowMs);
  const rows = (await readFleet(database, '', nowMs)).map((row) => [row.path, row.gapsOpen]);
  assert.equal(gapsOpen, found.length);
  assert.deepEqual(rows, [
    [device, found.length],
    [neighbour, 0],
  ]);
  assert.equal((await readDevice(database, '', device, nowMs))?.gapsOpen, found.length);
  return found.map(({ fromSequence, toSequence }) => [fromSequence, toSequence]);
}

testBoth(
  'isBehindAnnounced: what a device says it sent and never came is a gap, until it comes or is not said any more',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const ingest = createIngest(database);
    await ingest.storeBatch([arrival(device, 1), arrival(device, 2), arrival(neighbour, 1)]);
    const saidMs = startMs;
    const laterMs = saidMs + announcedSettleMs;
    await say(database, 2, saidMs);
    assert.deepEqual(await gaps(database, laterMs), [], 'it came');
    await say(database, 7, saidMs);
    assert.deepEqual(await gaps(database, laterMs - 1), [], 'it may be on its way');
    assert.deepEqual(await gaps(database, laterMs), [[3, 7]]);
    await say(database, 7, laterMs); // on its next connection
    await say(database, undefined, laterMs); // an older agent, for a moment
    assert.deepEqual(await gaps(database, laterMs), [[3, 7]], 'since it was first said');
    await ingest.storeBatch([arrival(device, 5)]);
    assert.deepEqual(await gaps(database, laterMs), [
      [3, 4],
      [6, 7],
    ]);
    await ingest.storeBatch([3, 4, 6, 7].map((sequence) => arrival(device, sequence)));
    assert.deepEqual(await gaps(database, laterMs), []);
    await say(database, 1e15, laterMs);
    assert.deepEqual(await gaps(database, laterMs + announcedSettleMs), [[8, 1e15]]);
    await say(database, 7, laterMs);
    assert.deepEqual(await gaps(database, laterMs + announcedSettleMs), [], 'nobody had signed it');
  },
);

import assert from 'node:assert/strict';
import test from 'node:test';
import { readDeadLetters } from '../../database/dead-letters.ts';
import { readOpenGaps } from '../../database/gaps.ts';
import { countSnapshots } from '../../database/totals.ts';
import { bench, introduce, publish } from './ingest-bench.ts';

const name = 'ms-acc-1/acc-1/dev-1';

test('Ingest: a broker that drops, replays, reorders and moves envelopes is found out by their numbers and their topic', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  await introduce(on, device);
  const [one, two, three, four, five, six] = [1, 2, 3, 4, 5, 6].map((sequence) => device.snapshot(sequence));
  assert.ok(one && two && three && four && five && six);
  for (const sealed of [one, two, four, two, six, five]) await publish(on, sealed);
  await publish(on, { ...three, topic: 'ms-acc-1/acc-1/dev-2/snapshots' });
  const gaps = async () =>
    (await readOpenGaps(on.database, '', name)).map(({ fromSequence, toSequence }) => [
      fromSequence,
      toSequence,
    ]);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 5, duplicated: 0 });
  assert.deepEqual([await gaps(), on.measures.tally.redelivered], [[[3, 3]], 1]);
  assert.deepEqual(
    (await readDeadLetters(on.database, '')).map(({ reason }) => reason),
    ['cms.wrong_topic'],
  );
  await publish(on, three);
  assert.deepEqual(await gaps(), []);
  assert.equal((await on.database.kysely.selectFrom('alarm').selectAll().execute()).length, 0);
});

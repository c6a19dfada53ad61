import assert from 'node:assert/strict';
import test from 'node:test';
import { readDeadLetters } from '../../database/dead-letters.ts';
import { readOpenGaps } from '../../database/gaps.ts';
import { countSnapshots } from '../../database/totals.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { bench, introduce, publish } from './ingest-bench.ts';
import { commandService, snapshotService, Vendor } from './vendor.ts';
import type { Sealed } from './vendor.ts';

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

test('startBackend: a gap and a number that was used twice are told and counted as they happen', async (context) => {
  const vendor = new Vendor(context);
  for (const service of [snapshotService, commandService]) await vendor.issue(service);
  await vendor.startBroker();
  const device = await vendor.device(name);
  const recorded = new RecordedLog();
  const backend = await vendor.startBackend(recorded.log, { observe: '127.0.0.1:0' });
  const link = vendor.link(name);
  await link.publish(`${name}/certificates`, device.certificates, { qos: 1, retain: true });
  const send = ({ topic, envelope }: Sealed): Promise<void> => link.publish(topic, envelope, { qos: 1 });
  await send(device.snapshot(1));
  await send(device.snapshot(4));
  const gap = await recorded.event('gap.noticed');
  assert.deepEqual([gap['device'], gap['from'], gap['to']], [name, 2, 3]);
  await send(device.snapshot(4, [{ channel: 'fuel.flow', value: 9 }]));
  const alarm = await recorded.event('alarm.raised');
  assert.deepEqual([alarm['device'], alarm['kind'], alarm['sequence']], [name, 'equivocation', 4]);
  const response = await fetch(`http://127.0.0.1:${backend.observePort}/metrics`);
  const text = await response.text();
  assert.match(text, /^plombe_backend_gaps_total 1$/m);
  assert.match(text, /^plombe_backend_gaps_open 1$/m);
  assert.match(text, /^plombe_backend_alarms_total\{kind="equivocation"\} 1$/m);
});

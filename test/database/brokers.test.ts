import assert from 'node:assert/strict';
import { noteBroker, readBrokers } from '../../database/brokers.ts';
import { freshDatabase, testBoth } from './engines.ts';

const online = {
  state: 'online',
  name: 'hall',
  version: '0.1.0',
  connectedSinceMs: 1,
  queued: 2,
  queuedBytes: 3,
  oldestWaitingMs: 4,
  forwardedUp: 5,
  forwardedDown: 6,
  refused: 7,
} as const;

testBoth(
  'readBrokers: the last word of each broker, within the scope of who asks',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    for (const path of ['ms-acc-1', 'ms-acc-1/acc-1', 'ms-acc-10'])
      await noteBroker(database, path, online, 100);
    await noteBroker(database, 'ms-acc-1', { ...online, queued: 20 }, 200);
    const all = await readBrokers(database, '');
    assert.deepEqual(
      all.map(({ path, queued, receivedMs }) => [path, queued, receivedMs]),
      [
        ['ms-acc-1', 20, 200],
        ['ms-acc-1/acc-1', 2, 100],
        ['ms-acc-10', 2, 100],
      ],
    );
    for (const [scope, wanted] of [
      ['ms-acc-1', ['ms-acc-1', 'ms-acc-1/acc-1']],
      ['ms-acc-1/acc-1', ['ms-acc-1/acc-1']],
      ['ms-acc-2', []],
    ] as const) {
      assert.deepEqual(
        (await readBrokers(database, scope)).map(({ path }) => path),
        wanted,
      );
    }
  },
);

testBoth('noteBroker: of a broker that has gone, what waited there stays known', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  await noteBroker(database, 'ms-acc-1', { state: 'offline', name: 'hall' }, 50);
  await noteBroker(database, 'ms-acc-1', online, 100);
  await noteBroker(database, 'ms-acc-1', { state: 'offline', name: 'hall' }, 200);
  const [broker] = await readBrokers(database, '');
  assert.deepEqual(broker, {
    path: 'ms-acc-1',
    name: 'hall',
    version: '0.1.0',
    connection: 'offline',
    receivedMs: 200,
    connectedSinceMs: null,
    queued: 2,
    queuedBytes: 3,
    oldestWaitingMs: 4,
    forwardedUp: 5,
    forwardedDown: 6,
    refused: 7,
  });
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { exportDevice } from '../../database/export.ts';
import { createIngest } from '../../database/ingest.ts';
import { arrival, startMs } from './arrivals.ts';
import { freshDatabase, testForms } from './engines.ts';
import { snapshotsPerSealing } from '../../database/chunks/seal.ts';

const device = 'ms-acc-1/acc-1/dev-1';

testForms(
  'exportDevice: a channel that several types of the device have is one column',
  async (context, engine, form) => {
    const database = await freshDatabase(context, engine, form);
    const ingest = createIngest(database);
    const store = (sequence: number, deviceType: string, channels: readonly string[]): Promise<unknown> =>
      ingest.storeBatch([
        arrival(
          device,
          sequence,
          channels.map((channel) => ({ channel, value: sequence })),
          { deviceType },
        ),
      ]);
    await store(1, 'FM', ['b', 'a']);
    await store(2, 'FM-2', ['a', 'b', 'c']);
    await store(3, 'FM', ['a']);
    const at = (sequence: number): string => new Date(startMs + sequence * 1000).toISOString();
    let csv = '';
    for await (const piece of exportDevice(database, device)) csv += piece;
    assert.deepEqual(csv.split('\r\n'), [
      'time,sequence,a,b,c',
      `${at(1)},1,1,1,`,
      `${at(2)},2,2,2,2`,
      `${at(3)},3,3,,`,
      '',
    ]);
  },
);

test('exportDevice: no text of a device is a formula where the file is opened, and a number stays one', async (context) => {
  const database = await freshDatabase(context, 'sqlite');
  const values = ['=1+1', '-5', '@SUM(A1)', '＝1', '\t=1', 'a=1', -5];
  await createIngest(database).storeBatch([
    arrival(
      device,
      1,
      values.map((value, index) => ({ channel: `c${index}`, value })),
    ),
  ]);
  let csv = '';
  for await (const piece of exportDevice(database, device)) csv += piece;
  const [, line] = csv.split('\r\n');
  assert.equal(line?.split(',').slice(2).join(','), `'=1+1,'-5,'@SUM(A1),'＝1,'\t=1,a=1,-5`);
});

test('exportDevice: whoever shares the thread has its turn after every channel and every few lines', async (context) => {
  const database = await freshDatabase(context, 'sqlite');
  const channels = 20;
  const count = snapshotsPerSealing + 10;
  await createIngest(database).storeBatch(
    Array.from({ length: count }, (_, index) =>
      arrival(
        device,
        index + 1,
        Array.from({ length: channels }, (__, channel) => ({ channel: `c${channel}`, value: index })),
      ),
    ),
  );
  let turns = 0;
  const turn = (): void => {
    turns += 1;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  let lines = 0;
  for await (const piece of exportDevice(database, device)) lines += piece.split('\r\n').length - 1;
  clearImmediate(next);
  assert.equal(lines, count + 1);
  assert.ok(turns >= channels, `${turns} turns`);
});

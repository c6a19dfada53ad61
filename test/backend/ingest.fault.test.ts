import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { Storing } from '../../backend/storing.ts';
import type { StoreAnswer } from '../../backend/store-messages.ts';
import { announcedSettleMs } from '../../database/announced.ts';
import { readChains } from '../../database/certificates.ts';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { readDeadLetters } from '../../database/dead-letters.ts';
import { faultOf } from '../../database/errors.ts';
import type { DatabaseFault } from '../../database/errors.ts';
import { readFleet } from '../../database/fleet.ts';
import { readOpenGaps } from '../../database/gaps.ts';
import { createIngest } from '../../database/ingest.ts';
import { countSnapshots } from '../../database/totals.ts';
import { encodeDeviceStatus } from '../../domain/device-status.ts';
import { arrival } from '../database/arrivals.ts';
import { freshDatabase, freshUrl } from '../database/engines.ts';
import { bench, introduce, publish, receive } from './ingest-bench.ts';
import type { Bench, BenchOptions } from './ingest-bench.ts';
import type { Device } from './vendor.ts';

const name = 'ms-acc-1/acc-1/dev-1';
const openerFile = path.join(import.meta.dirname, 'dying-opener-worker.ts');

async function benchWithDevice(
  context: TestContext,
  options: BenchOptions = {},
): Promise<{ readonly on: Bench; readonly device: Device }> {
  const on = await bench(context, options);
  const device = await on.vendor.device(name);
  await introduce(on, device);
  return { on, device };
}

const fileOf = (on: Bench): string => on.url.slice('sqlite:'.length);

const reasonsOf = async (database: Database): Promise<string[]> =>
  (await readDeadLetters(database, '')).map(({ reason }) => reason);

test('OpenerPool: a thread that dies is started again, and nothing is lost or out of order', async (context) => {
  const { on, device } = await benchWithDevice(context, { openerFile });
  const accident = Buffer.from(`DIE ONCE ${on.vendor.folder}/died`);
  const twenty = (first: number): Promise<void>[] =>
    Array.from({ length: 20 }, (_, index) => publish(on, device.snapshot(first + index)));
  await Promise.all([...twenty(1), receive(on, `${name}/snapshots`, accident), ...twenty(21)]);
  assert.deepEqual(await reasonsOf(on.database), ['cms.malformed'], 'after the accident it is what it is');
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 40, duplicated: 0 });
  assert.equal(on.recorded.records.filter(({ event }) => event === 'opener.died').length, 1);
  // Had one overtaken another, there would be a gap, if a closed one.
  assert.deepEqual(await on.database.kysely.selectFrom('gap').selectAll().execute(), []);
});

test('OpenerPool: an envelope that kills thread after thread is a dead letter, and the rest is stored', async (context) => {
  const { on, device } = await benchWithDevice(context, { openerFile });
  await Promise.all([
    ...Array.from({ length: 10 }, (_, index) => publish(on, device.snapshot(index + 1))),
    receive(on, `${name}/snapshots`, Buffer.from('DIE')),
    ...Array.from({ length: 10 }, (_, index) => publish(on, device.snapshot(index + 11))),
  ]);
  assert.deepEqual(await reasonsOf(on.database), ['opener_died']);
  assert.equal(on.measures.tally.rejected['opener_died'], 1);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 20, duplicated: 0 });
});

test('OpenerPool: a thread that hangs is ended like one that died', async (context) => {
  const { on, device } = await benchWithDevice(context, { openerFile, answerTimeoutMs: 1000 });
  await Promise.all([receive(on, `${name}/snapshots`, Buffer.from('HANG')), publish(on, device.snapshot(1))]);
  assert.deepEqual(await reasonsOf(on.database), ['opener_died']);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 1, duplicated: 0 });
});

test('OpenerPool: who made what came by the topic of another is named, whichever thread knows them', async (context) => {
  const on = await bench(context, { threads: 3 });
  const devices = await Promise.all(
    [1, 2, 3, 4].map((number) => on.vendor.device(`ms-acc-1/acc-1/dev-${number}`)),
  );
  for (const device of devices) await introduce(on, device);
  for (const [index, device] of devices.entries()) {
    const topic = `${devices[(index + 1) % devices.length]?.path}/snapshots`;
    await publish(on, device.snapshot(1, undefined, { topic }));
  }
  assert.deepEqual(
    await reasonsOf(on.database),
    devices.map(() => 'foreign_originator'),
  );
});

test('Subscriber: certificates have their turn among the envelopes of their device, and none of those is put aside', async (context) => {
  const on = await bench(context, { threads: 2 });
  const device = await on.vendor.device('ms-acc-1/acc-1/dev-1');
  const [first, second] = [device.snapshot(1), device.snapshot(2)];
  // Without a pause, as one packet brings them.
  await Promise.all([introduce(on, device), publish(on, first), publish(on, second)]);
  assert.deepEqual(
    on.recorded.records.filter(({ event }) => event === 'envelope.refused'),
    [],
  );
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 2, duplicated: 0 });
});

test('OpenerPool: what came before its certificates is stored, also if another thread was asked about it after them', async (context) => {
  const on = await bench(context, { threads: 2, openerFile });
  // Their paths differ in the last bit, and so do their threads.
  const [device, other] = [await on.vendor.device('ms-acc-1/acc-1/dev-1'), 'ms-acc-1/acc-1/dev-2'];
  const file = `${on.vendor.folder}/go-on`;
  const toOther = (text: string): Promise<void> => receive(on, `${other}/snapshots`, Buffer.from(text));
  await toOther('its thread is there');
  // It has two at a time, so what comes after them is handed to it when it goes on.
  const waiting = Promise.all([toOther(`WAIT ${file}`), toOther(`WAIT ${file}`)]);
  const published = publish(on, device.snapshot(1));
  await introduce(on, device); // in its thread behind the snapshot, of which that knew nothing
  writeFileSync(file, '');
  await Promise.all([waiting, published]);
  await on.recorded.until(() => on.measures.tally.stored === 1);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 1, duplicated: 0 });
});

test('Ingest: letters that made room for newer ones are counted, and the log says how many and why they were there', async (context) => {
  const { on, device } = await benchWithDevice(context, {
    aroundStore: async (call, request) => {
      const answer = await call(request);
      return answer.kind === 'kept' ? { ...answer, dropped: { unknown_originator: 3 } } : answer;
    },
  });
  await receive(on, `${device.path}/snapshots`, Buffer.from('nonsense'));
  assert.deepEqual(await on.measures.lettersDropped.get().then(({ values }) => values), [
    { value: 3, labels: { reason: 'unknown_originator' } },
  ]);
  const said = on.recorded.records.filter(({ event }) => event === 'letters.dropped');
  assert.deepEqual(
    said.map(({ reason, letters }) => [reason, letters]),
    [['unknown_originator', 3]],
  );
});

const faults: readonly DatabaseFault[] = ['locked', 'full', 'read_only', 'gone', 'failing', 'damaged'];
for (const fault of faults) {
  test(`Ingest: while the database is ${fault} nothing is acknowledged, it is counted, and nothing is missing afterwards`, async (context) => {
    let isThere = false;
    const refusal: StoreAnswer = { kind: 'unavailable', fault, detail: 'of a test' };
    const { on, device } = await benchWithDevice(context, {
      queueMax: 10,
      aroundStore: (call, request) => (isThere ? call(request) : Promise.resolve(refusal)),
    });
    let acknowledged = 0;
    const all = Array.from({ length: 30 }, (_, index) =>
      publish(on, device.snapshot(index + 1)).then(() => (acknowledged += 1)),
    );
    await on.recorded.until(
      (records) => records.filter(({ event }) => event === 'database.unavailable').length >= 3,
    );
    assert.equal(acknowledged, 0);
    assert.match(on.ingest.databaseFault ?? '', new RegExp(fault));
    assert.deepEqual(on.full, [true], 'the broker keeps the rest');
    const { values } = await on.measures.storeFailures.get();
    assert.deepEqual(
      values.map(({ labels }) => labels.reason),
      [fault],
    );
    isThere = true;
    await Promise.all(all);
    assert.equal(on.ingest.databaseFault, undefined);
    assert.deepEqual(on.full, [true, false]);
    assert.deepEqual(await countSnapshots(on.database, ''), { stored: 30, duplicated: 0 });
  });
}

const pragmas: readonly (readonly [DatabaseFault, set: string, unset: string])[] = [
  ['full', 'max_page_count = 1', 'max_page_count = 1073741823'], // as many as there are already
  ['read_only', 'query_only = on', 'query_only = off'],
];
for (const [fault, set, unset] of pragmas) {
  test(`createIngest: what SQLite does not take because it is ${fault} is that, and is stored when it is not any more`, async (context) => {
    const database = await freshDatabase(context, 'sqlite');
    const ingest = createIngest(database);
    const pragma = (text: string): Promise<void> =>
      database.engine === 'sqlite'
        ? database.exclusively((raw) => raw.exec(`pragma ${text}`))
        : assert.fail(database.engine);
    await ingest.storeBatch([arrival(name, 1)]);
    const batch = Array.from({ length: 500 }, (_, index) => arrival(name, index + 1));
    await pragma(set);
    await assert.rejects(ingest.storeBatch(batch), (error) => faultOf(error) === fault);
    assert.deepEqual(await countSnapshots(database, ''), { stored: 1, duplicated: 0 });
    await pragma(unset);
    const { outcomes } = await ingest.storeBatch(batch);
    assert.deepEqual(outcomes[0], { outcome: 'duplicate' });
    assert.deepEqual(await countSnapshots(database, ''), { stored: 500, duplicated: 0 });
  });
}

test('Subscriber: certificates and statuses wait while the database takes nothing, and are taken when it does, in their order', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  const { database } = on;
  const pragma = (text: string): Promise<void> =>
    database.engine === 'sqlite'
      ? database.exclusively((raw) => raw.exec(`pragma ${text}`))
      : assert.fail(database.engine);
  await publish(on, device.snapshot(1));
  assert.deepEqual(await reasonsOf(database), ['unknown_originator'], 'nobody knows the device yet');
  await pragma('query_only = on');
  let acknowledged = 0;
  const count = (): void => void (acknowledged += 1);
  const status = (state: 'online' | 'offline'): Promise<void> =>
    receive(on, `${name}/status`, Buffer.from(encodeDeviceStatus({ state, agentVersion: '1' })));
  const all = [introduce(on, device), status('online'), status('offline')].map((one) => one.then(count));
  for (const topic of [`${name}/certificates`, `${name}/status`])
    await on.recorded.event('message.waits', (record) => record['topic'] === topic);
  assert.equal(acknowledged, 0);
  await pragma('query_only = off');
  await Promise.all(all);
  // What was put aside for want of the certificates is stored with them, and they are there after the next start.
  await publish(on, device.snapshot(2)); // behind the first in the device's own order
  assert.deepEqual(await countSnapshots(database, ''), { stored: 2, duplicated: 0 });
  assert.deepEqual(
    (await readChains(database)).map(({ kind }) => kind),
    ['sig', 'enc'],
  );

  const [row] = await readFleet(database, '');
  assert.equal(row?.connection, 'offline', 'the later status stays');
});

test('Ingest: waits for whoever has the lock of the database', async (context) => {
  const { on, device } = await benchWithDevice(context);
  const other = await connectDatabase(on.url);
  context.after(() => other.close());
  const held = Promise.withResolvers<void>();
  const holding = other.transaction(() => held.promise);
  let isAcknowledged = false;
  const published = publish(on, device.snapshot(1)).then(() => (isAcknowledged = true));
  await publish(on, { topic: 'ms-acc-1/broker/status', envelope: Buffer.alloc(0) });
  assert.equal(isAcknowledged, false);
  held.resolve();
  await Promise.all([holding, published]);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 1, duplicated: 0 });
});

test('Storing: what goes into a file that was moved away is not acknowledged, and comes again', async (context) => {
  const { on, device } = await benchWithDevice(context);
  await publish(on, device.snapshot(1));
  const away = `${fileOf(on)}.away`;
  renameSync(fileOf(on), away);
  let isAcknowledged = false;
  const published = publish(on, device.snapshot(2)).then(() => (isAcknowledged = true));
  await on.recorded.until(
    (records) => records.filter(({ event }) => event === 'database.unavailable').length >= 2,
  );
  assert.equal(isAcknowledged, false);
  renameSync(away, fileOf(on));
  await published;
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 2, duplicated: 0 });
});

test('Storing: another file in the place of the database is not written into', async (context) => {
  const { on, device } = await benchWithDevice(context);
  await publish(on, device.snapshot(1));
  const copy = `${fileOf(on)}.copy`;
  copyFileSync(fileOf(on), copy);
  renameSync(copy, fileOf(on));
  void publish(on, device.snapshot(2));
  await on.recorded.until((records) => records.some(({ event }) => event === 'database.replaced'));
  assert.match(on.ingest.databaseFault ?? '', /replaced/);
});

test('Storing: what a database says to every envelope is no word about one of them', async (context) => {
  const { on, device } = await benchWithDevice(context);
  await publish(on, device.snapshot(1));
  const alter = (from: string, to: string): void => {
    const raw = new DatabaseSync(fileOf(on), { timeout: 5000 });
    raw.exec(`alter table snapshot rename column ${from} to ${to}`);
    raw.close();
  };
  alter('signer', 'signed_by');
  let isAcknowledged = false;
  const published = publish(on, device.snapshot(2)).then(() => (isAcknowledged = true));
  await on.recorded.until(
    (records) => records.filter(({ event }) => event === 'database.unavailable').length >= 2,
  );
  assert.equal(isAcknowledged, false);
  assert.match(on.ingest.databaseFault ?? '', /failing: .*no column named signer/);
  alter('signed_by', 'signer');
  await published;
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 2, duplicated: 0 });
  assert.deepEqual(on.measures.tally.rejected, {});
});

test('Storing: a damaged file is that, and nothing of the batch is taken for stored', async (context) => {
  const url = await freshUrl(context, 'sqlite');
  const file = url.slice('sqlite:'.length);
  writeFileSync(file, randomBytes(8192));
  const storing = new Storing({ url, directory: path.dirname(file), evidenceMs: undefined });
  const answer = await storing.answer({ kind: 'letters', letters: [] });
  assert.equal(answer.kind === 'unavailable' ? answer.fault : answer.kind, 'damaged');
});

test('Ingest: a database that was restored to yesterday is noticed, and what it lacks is a gap', async (context) => {
  const { on, device } = await benchWithDevice(context);
  await publish(on, device.snapshot(1));
  const { database } = on;
  const yesterday = await database.kysely.selectFrom('device').selectAll().executeTakeFirstOrThrow();
  const batches = await database.kysely.selectFrom('ingest_turn').selectAll().executeTakeFirstOrThrow();
  for (const sequence of [2, 3, 4]) await publish(on, device.snapshot(sequence));
  // What a restore leaves: the rows of then, and nothing of what came since.
  for (const table of ['snapshot', 'head'] as const)
    await database.kysely.deleteFrom(table).where('sequence', '>', 1).execute();
  await database.kysely.updateTable('device').set(yesterday).where('id', '=', yesterday.id).execute();
  await database.kysely.updateTable('ingest_turn').set(batches).where('id', '=', 1).execute();
  await publish(on, device.snapshot(5));
  const noticed = on.recorded.records.find(({ event }) => event === 'database.restored');
  assert.equal(noticed?.['batchesMissing'], 3);
  assert.equal(on.restored.length, 1, 'what is retained is asked for again');
  assert.deepEqual(
    (await readOpenGaps(database, '', name)).map(({ fromSequence, toSequence }) => [
      fromSequence,
      toSequence,
    ]),
    [[2, 4]],
  );
  assert.deepEqual(await countSnapshots(database, ''), { stored: 2, duplicated: 0 });
});

test('Ingest: what a restored database lacks of a device that is silent is a gap when the device says how far it is', async (context) => {
  const { on, device } = await benchWithDevice(context);
  for (const sequence of [1, 2]) await publish(on, device.snapshot(sequence));
  // Of what came after the backup there is nothing; what the device last said is retained, and comes with every subscription.
  const status = encodeDeviceStatus({ state: 'offline', agentVersion: '1', sentUpTo: 4 });
  await receive(on, `${name}/status`, Buffer.from(status));
  const laterMs = Date.now() + announcedSettleMs;
  assert.deepEqual(
    (await readOpenGaps(on.database, '', name, laterMs)).map(({ fromSequence, toSequence }) => [
      fromSequence,
      toSequence,
    ]),
    [[3, 4]],
  );
  await receive(on, `${name}/status`, Buffer.from('{"state":"offline","agentVersion":"1","sentUpTo":"4"}'));
  assert.equal(on.measures.tally.rejected['malformed_status'], 1);
});

test('Storing: a new start notices a database that was restored meanwhile', async (context) => {
  const nowMs = Date.now();
  const { on, device } = await benchWithDevice(context, { clock: () => nowMs }); // it is noted every few seconds
  for (const sequence of [1, 2, 3]) await publish(on, device.snapshot(sequence));
  await on.database.kysely.updateTable('ingest_turn').set({ batches: 1 }).where('id', '=', 1).execute();
  const directory = path.join(on.vendor.folder, 'backend');
  const again = new Storing({ url: on.url, directory, evidenceMs: undefined });
  context.after(() => again.close());
  const answer = await again.answer({ kind: 'store', packed: [], nowMs });
  // The note of the first batch is there, and of no later one.
  assert.deepEqual(answer.kind === 'stored' ? answer.restored : answer, undefined);
  await again.close();
  await on.database.kysely.updateTable('ingest_turn').set({ batches: 1 }).where('id', '=', 1).execute();
  const third = new Storing({ url: on.url, directory, evidenceMs: undefined });
  context.after(() => third.close());
  const noticed = await third.answer({ kind: 'store', packed: [], nowMs });
  assert.deepEqual(noticed.kind === 'stored' ? noticed.restored?.batchesMissing : noticed, 1);
});

test('Ingest: a thread that stores and dies is started again, and what it had is stored', async (context) => {
  let isFirst = true;
  const { on, device } = await benchWithDevice(context, {
    aroundStore: async (call, request) => {
      const answer = await call(request);
      if (!isFirst) return answer;
      isFirst = false;
      // It was committed, and nobody heard of it.
      return { kind: 'unavailable', fault: 'failing', detail: 'the thread that stores ended' };
    },
  });
  await publish(on, device.snapshot(1));
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 1, duplicated: 0 });
  assert.deepEqual([on.measures.tally.stored, on.measures.tally.redelivered], [0, 1]);
});

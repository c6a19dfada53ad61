import assert from 'node:assert/strict';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import test from 'node:test';
import type { ExportJob } from '../../auditor/export-messages.ts';
import { Exports, exportsMax } from '../../auditor/exports.ts';
import type { ExportsOptions } from '../../auditor/exports.ts';
import { openPolicyHistory } from '../../auditor/policy-history.ts';
import { indexFileName } from '../../auditor/record-index.ts';
import type { EgressRecord } from '../../auditor/record.ts';
import { openRecord } from '../../auditor/record.ts';
import { loadE2eIdentity } from '../../pki/identity.ts';
import { devicePath } from '../device-agent/site.ts';
import { pathOf } from '../domain/policies.ts';
import { device, makeParties, owner, passage, timeMs } from '../ledger/written.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import type { Stage } from './page-stage.ts';
import { openStage } from './page-stage.ts';
import { publishPolicy, sealed, until } from './premises.ts';

const entries = 5000;
const job: ExportJob = {
  device: devicePath(device),
  file: { format: 'csv', table: 'entries' },
  fromMs: undefined,
  untilMs: undefined,
};

interface Premises {
  readonly directory: string;
  readonly record: EgressRecord;
  readonly recorded: RecordedLog;
  readonly exports: Exports;
}

/** A record of many entries, and who exports them. */
async function openPremises(context: TestContext, changes: Partial<ExportsOptions> = {}): Promise<Premises> {
  const { folder, roots } = await makeParties(context);
  const directory = path.join(folder, 'data');
  const record = openRecord(directory, pathOf(owner), timeMs);
  add(record, 1, entries);
  openPolicyHistory(directory).close();
  const recipient = loadE2eIdentity(path.join(folder, owner)).keyAgreement;
  const recorded = new RecordedLog();
  const { log } = recorded;
  const own = { directory, hasArchive: false, recipient, roots, issuers: [], clock: Date.now, log };
  const exports = new Exports({ ...own, ...changes });
  context.after(async () => {
    await exports.stop();
    record.close();
  });
  return { directory, record, recorded, exports };
}

function add(record: EgressRecord, from: number, to: number): void {
  const numbers = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  record.append(numbers.map((sequence) => ({ passage: passage(sequence), channelNames: undefined })));
}

/** Once nobody works on more of it, for nobody has taken what there is. */
async function untilFull(file: Readable): Promise<void> {
  await until(() => file.readableLength >= file.readableHighWaterMark);
}

function begin(exports: Exports): Readable {
  const file = exports.start(job);
  assert.ok(file !== undefined);
  file.on('readable', () => undefined); // asks for the first piece
  return file;
}

const linesOf = (csv: string): string[] => csv.trimEnd().split('\r\n').slice(1);

test('Exports: while a client takes its time the log of the index shrinks, and it gets what was there', async (context) => {
  const { directory, record, exports } = await openPremises(context);
  const file = begin(exports);
  await untilFull(file);
  add(record, entries + 1, entries + 10);
  const other = new DatabaseSync(path.join(directory, indexFileName));
  context.after(() => other.close());
  assert.deepEqual(
    { ...other.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() },
    {
      busy: 0,
      log: 0,
      checkpointed: 0,
    },
  );
  assert.ok(file.readableLength < 2 * file.readableHighWaterMark + 64 * 1024);
  const sequences = linesOf(await text(file)).map((line) => Number(line.split(',')[4]));
  assert.deepEqual(
    sequences,
    Array.from({ length: entries }, (_, index) => index + 1),
  );
  await until(() => exports.size === 0);
});

test('Exports: a thread ends with its client, and with the auditor; there are no more than so many', async (context) => {
  const { exports } = await openPremises(context);
  const files = Array.from({ length: exportsMax }, () => begin(exports));
  assert.equal(exports.start(job), undefined);
  await Promise.all(files.map((file) => untilFull(file)));
  const [gone, ...others] = files;
  gone?.destroy();
  await until(() => exports.size === exportsMax - 1);
  const another = begin(exports);
  assert.equal(linesOf(await text(another)).length, entries);
  const ends = others.map((file) => assert.rejects(text(file), /stopped/));
  await exports.stop();
  await Promise.all(ends);
  assert.equal(exports.size, 0);
});

test('Exports: who takes nothing for long loses it', async (context) => {
  const { exports } = await openPremises(context, { stalledMs: 20 });
  const file = begin(exports);
  await assert.rejects(new Promise((_, reject) => file.once('error', reject)), /nobody takes/);
  await until(() => exports.size === 0);
});

test('Exports: a file that cannot be finished breaks off, and the log says why', async (context) => {
  const { exports, recorded } = await openPremises(context, { hasArchive: true });
  await assert.rejects(text(begin(exports)), /unable to open/);
  assert.equal((await recorded.event('export.failed'))['table'], 'entries');
  await until(() => exports.size === 0);
});

const snapshots = 30;
const readings = Array.from({ length: 500 }, (_, index) => ({
  channel: `note.channel-${index}`,
  value: 'x'.repeat(256),
}));

/** Megabytes in an export, and not much on the way. */
async function fill({ bench, auditor }: Stage): Promise<Buffer> {
  await publishPolicy(bench, 1, { auto: ['*'] });
  let last: Buffer | undefined;
  for (let sequence = 1; sequence <= snapshots; sequence++) {
    last = sealed(bench, sequence, { readings, ...(last && { previous: last }) });
    await bench.send(last);
  }
  await until(() => auditor.state().entries === snapshots);
  return last ?? assert.fail();
}

test('page: what leaves does not wait for those who export and take nothing; who gives up makes room', async (context) => {
  const stage = await openStage(context);
  const { bench, vera } = stage;
  const last = await fill(stage);
  const address = `/api/export/snapshots.csv?device=${device}`;
  const clients = Array.from({ length: exportsMax }, () => new AbortController());
  const slow = await Promise.all(clients.map(({ signal }) => vera.fetch(address, { signal })));
  assert.deepEqual(
    slow.map(({ status }) => status),
    clients.map(() => 200),
  );
  assert.equal((await vera.get(address)).status, 503);
  await bench.send(sealed(bench, snapshots + 1, { previous: last }));
  for (let released = 0; released <= snapshots; released++) await bench.uplink.next('/snapshots');

  clients[0]?.abort();
  let response = await vera.fetch(address);
  while (response.status === 503) response = await vera.fetch(address); // the thread is about to end
  assert.equal(linesOf(await response.text()).length, snapshots * readings.length + 1);
});

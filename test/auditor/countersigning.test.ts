import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import type { TestContext } from 'node:test';
import { Countersigning } from '../../auditor/countersigning.ts';
import type { EgressRecord } from '../../auditor/record.ts';
import { openRecord } from '../../auditor/record.ts';
import { Ledgers } from '../../backend/ledgers.ts';
import { createSealer } from '../../cms/seal.ts';
import { connectDatabase } from '../../database/connect.ts';
import type { Database } from '../../database/connect.ts';
import { createIngest } from '../../database/ingest.ts';
import { storeDeadLetters } from '../../database/dead-letters.ts';
import { migrate } from '../../database/migrate.ts';
import { ledgerHeadTopic } from '../../domain/ledger-topics.ts';
import { parseNamespacePath } from '../../domain/namespace.ts';
import type { PassageLeaf } from '../../ledger/leaf.ts';
import { encodeSubmission } from '../../ledger/submission.ts';
import { readHead, signHead } from '../../ledger/tree-head.ts';
import { verifyLedger } from '../../ledger/verify.ts';
import { contextOf, makeIdentity } from '../cms/identities.ts';
import { rewritten } from '../ledger/rewritten.ts';
import { makeParties, owner, passage, timeMs } from '../ledger/written.ts';
import type { Parties } from '../ledger/written.ts';
import { freshLists } from '../pki/lists.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';

const vendor = 'vendor-snapshot-service';
const device = 'ms-acc-1/acc-1/dev-1';

interface Bench {
  readonly parties: Parties;
  readonly database: Database;
  readonly ledgers: Ledgers;
  readonly recorded: RecordedLog;
  readonly open: (name?: string) => { record: EgressRecord; countersigning: Countersigning; data: string };
  readonly store: (...sequences: readonly number[]) => Promise<void>;
  /** Everything that was asked is answered, or waits. */
  readonly settled: () => Promise<void>;
}

async function openBench(context: TestContext): Promise<Bench> {
  const parties = await makeParties(context, vendor);
  const scope = parseNamespacePath(owner) ?? assert.fail();
  const { lists } = freshLists(context, parties.roots);
  const recorded = new RecordedLog();
  const database = await connectDatabase(`sqlite:${path.join(parties.folder, 'plombe.db')}`);
  context.after(() => database.close());
  await migrate(database, timeMs);
  const ingest = createIngest(database);
  let current: Countersigning | undefined;
  const clock = (): number => timeMs;
  const common = { roots: parties.roots, lists, clock, log: recorded.log };
  const ledgers = new Ledgers({
    ...common,
    database,
    signer: parties.signerOf(vendor),
    publish: async (_topic, payload) => current?.take(Buffer.from(payload)),
  });
  const open: Bench['open'] = (name = 'auditor') => {
    const data = path.join(parties.folder, name);
    const record = openRecord(data, scope, timeMs);
    const countersigning = new Countersigning({
      ...common,
      scope,
      record,
      signer: parties.signerOf(owner),
      directory: data,
      publish: async (topic, payload) => {
        const message = {
          topic,
          payload: Buffer.from(payload),
          qos: 1,
          retain: false,
          duplicate: false,
        } as const;
        ledgers.receive(
          { ...message, properties: Buffer.alloc(0), expirySeconds: undefined },
          () => undefined,
        );
      },
    });
    current = countersigning;
    return { record, countersigning, data };
  };
  const store = async (...sequences: readonly number[]): Promise<void> => {
    const readings = [{ channel: 'level', value: 1 }];
    await ingest.storeBatch(
      sequences.map((sequence) => ({
        device,
        sequence,
        digest: passage(sequence).digest,
        signer: Buffer.alloc(32),
        receivedMs: timeMs,
        snapshot: { timeMs, deviceType: 'T', readings },
      })),
    );
  };
  const settled = async (): Promise<void> => {
    for (let size = -1; size !== current?.size;) {
      size = current?.size ?? 0;
      await ledgers.stop();
    }
  };
  return { parties, database, ledgers, recorded, open, store, settled };
}

const byText = (one: string, other: string): number => (one < other ? -1 : 1);

function fill(record: EgressRecord, ...entries: readonly (number | PassageLeaf)[]): void {
  record.append(
    entries.map((entry) => ({
      passage: typeof entry === 'number' ? passage(entry) : entry,
      channelNames: undefined,
    })),
  );
}

test('Countersigning: the vendor countersigns once it has everything that was released to it', async (context) => {
  const bench = await openBench(context);
  const { record, countersigning, data } = bench.open();
  fill(record, 1, 2, passage(3, { alarm: { reason: 'audit.foreign_recipient', detail: '' } }));
  await bench.store(1);
  countersigning.ask();
  const awaited = await bench.recorded.event('ledger.awaited');
  assert.equal(awaited['sequence'], 2);
  assert.equal(countersigning.size, 0);
  await bench.store(2);
  bench.ledgers.retry();
  await bench.recorded.event('ledger.countersigned');
  await bench.settled();
  assert.equal(countersigning.size, 4); // the third is the customer's affair alone
  const held = readHead(readFileSync(path.join(data, 'countersigned.head')));
  assert.deepEqual(held.signatures.map(({ chain }) => chain[0].commonName ?? '').toSorted(byText), [
    owner,
    vendor,
  ]);
  fill(record, 4);
  await bench.store(4);
  countersigning.ask();
  await bench.settled();
  assert.equal(countersigning.size, 5);
  record.close();
  const file = path.join(data, 'egress.ledger');
  assert.equal(verifyLedger(file, { roots: bench.parties.roots, heads: [held] }).fault, undefined);
});

test('Countersigning: what came and was not taken has come', async (context) => {
  const bench = await openBench(context);
  const { record, countersigning } = bench.open();
  const { sealKeys, recipient } = makeIdentity(device);
  const { envelope, digest } = createSealer(sealKeys).seal(
    Buffer.from('[]'),
    [recipient.certificate],
    contextOf(),
  );
  const letter = {
    topic: `${device}/snapshots`,
    devicePath: device,
    reason: 'x',
    detail: '',
    receivedMs: timeMs,
  };
  await storeDeadLetters(bench.database, [
    { ...letter, payload: Buffer.from('no envelope, so no digest') },
    { ...letter, payload: envelope },
  ]);
  fill(record, passage(7, { digest }));
  countersigning.ask();
  await bench.settled();
  assert.equal(countersigning.size, 2);
  record.close();
});

test('Countersigning: more than one message holds, and a vendor that answers again after a restart', async (context) => {
  const bench = await openBench(context);
  const first = bench.open();
  const sequences = Array.from({ length: 2500 }, (_, index) => index + 1);
  fill(first.record, ...sequences);
  await bench.store(...sequences);
  first.countersigning.ask();
  await bench.settled();
  assert.equal(first.countersigning.size, 2501);
  first.record.close();
  const second = bench.open();
  assert.equal(second.countersigning.size, 2501);
  second.record.close();
});

test('Countersigning: an operator who rewrites the ledger gets no other signature, and cannot start on it', async (context) => {
  const bench = await openBench(context);
  const { record, countersigning, data } = bench.open();
  fill(record, 1, 2);
  await bench.store(1, 2, 3);
  countersigning.ask();
  await bench.settled();
  record.close();
  const held = readHead(readFileSync(path.join(data, 'countersigned.head')));
  // The same ledger from its first leaf on, with the second envelope left out.
  rewritten(path.join(data, 'egress.ledger'), [passage(1), passage(3)]);
  assert.throws(() => bench.open(), { code: 'ledger.damaged' });
  rewritten(
    path.join(data, 'egress.ledger'),
    [passage(1), passage(3)],
    path.join(bench.parties.folder, 'copy'),
  );
  const copy = bench.open('copy'); // without the head that it had
  copy.countersigning.ask();
  const refused = await bench.recorded.event('countersignature.refused');
  assert.equal(refused['reason'], 'ledger.damaged');
  copy.record.close();
  const file = path.join(bench.parties.folder, 'copy', 'egress.ledger');
  assert.equal(verifyLedger(file, { heads: [held] }).fault?.reason, 'rewritten');
});

test('Ledgers: a head that is not the owner’s, or of another history, is refused', async (context) => {
  const bench = await openBench(context);
  const { record, countersigning } = bench.open();
  fill(record, 1);
  await bench.store(1);
  const scope = parseNamespacePath(owner) ?? assert.fail();
  const message = (payload: Buffer) => ({
    topic: ledgerHeadTopic(scope),
    payload,
    qos: 1 as const,
    retain: false,
    duplicate: false,
    properties: Buffer.alloc(0),
    expirySeconds: undefined,
  });
  const leaves = record.leavesFrom(0, 10);
  const by = (name: string) => signHead(record.head, bench.parties.signerOf(name), timeMs);
  for (const payload of [
    Buffer.from('nothing'),
    Buffer.from(encodeSubmission(by(vendor), 0, leaves)),
    Buffer.from(encodeSubmission(by(owner), 0, leaves.slice(1))),
    Buffer.from(encodeSubmission(by(owner), 0, leaves.toReversed())),
  ]) {
    const before = bench.recorded.records.filter(({ event }) => event === 'ledger.refused').length;
    bench.ledgers.receive(message(payload), () => undefined);
    await bench.ledgers.stop();
    assert.equal(bench.recorded.records.filter(({ event }) => event === 'ledger.refused').length, before + 1);
  }
  assert.equal(countersigning.size, 0);
  record.close();
});

import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import type { Recovery } from '../../../broker/store/recovery.ts';
import { Store } from '../../../broker/store/store.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-torn-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const fileName = 'broker.sqlite';
const logName = `${fileName}-wal`;
const logHeaderBytes = 32;
const frameBytes = 24 + 8192;

function open(folder: string): Store {
  return new Store({ directory: folder, durability: 'os', onFirstWrite: () => undefined });
}

/** One message, queued: its topic is its number. */
function commitOne(store: Store, session: number, sequence: number, payloadBytes: number): void {
  const content = { topic: String(sequence), payload: Buffer.alloc(payloadBytes, sequence) };
  const none = { properties: Buffer.alloc(0), expiresMs: undefined };
  const message = store.insertMessage({ ...content, ...none }, 1);
  const terms = { qos: 1, retain: false, identifiers: Buffer.alloc(0), share: undefined } as const;
  store.enqueue(session, { sequence, bytes: payloadBytes, ...terms }, message);
  store.commit();
}

interface Written {
  readonly folder: string;
  readonly session: number;
  /** Bytes of the log after each commit. */
  readonly ends: readonly number[];
}

/** As a broker leaves it that is killed after some commits, of one page and of several. */
function writeAndDie(): Written {
  const living = path.join(directory, 'living');
  const first = open(living);
  const session = first.createSession('ms-acc-1', 's', 100);
  first.close();
  const store = open(living);
  const log = path.join(living, logName);
  const ends = [100, 9000, 300, 40_000, 200, 17_000].map((payloadBytes, index) => {
    commitOne(store, session, index + 1, payloadBytes);
    return statSync(log).size;
  });
  const folder = path.join(directory, 'dead');
  mkdirSync(folder);
  for (const name of [fileName, logName]) copyFileSync(path.join(living, name), path.join(folder, name));
  store.close();
  return { folder, session, ends };
}

const written = writeAndDie();
const logBytes = written.ends.at(-1) ?? 0;

/** Every frame's beginning, what is around it, its checksum, and places within its page. */
const offsets = Array.from({ length: (logBytes - logHeaderBytes) / frameBytes }, (_, index) => {
  const start = logHeaderBytes + index * frameBytes;
  return [
    start - 1,
    start,
    start + 1,
    start + 4,
    start + 8,
    start + 20,
    start + 24,
    start + 4000,
    start + 8000,
  ];
}).flat();

function damagedCopy(damage: (log: string) => void): string {
  const folder = path.join(directory, 'damaged');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const name of [fileName, logName])
    copyFileSync(path.join(written.folder, name), path.join(folder, name));
  damage(path.join(folder, logName));
  return folder;
}

/** @returns what the first opening found */
function requirePrefix(folder: string, damagedAt: number): Recovery {
  const wanted = written.ends.filter((end) => end <= damagedAt).length;
  const store = open(folder);
  const queued = store.readQueue(written.session, 0, 100);
  const place = `at ${damagedAt}`;
  assert.deepEqual(
    queued.map(({ sequence }) => sequence),
    Array.from({ length: wanted }, (_, index) => index + 1),
    place,
  );
  for (const { sequence, bytes, message } of queued) {
    assert.ok(message?.payload.equals(Buffer.alloc(bytes, sequence)), place);
  }
  const pagesBefore = wanted === 0 ? 0 : ((written.ends[wanted - 1] ?? 0) - logHeaderBytes) / frameBytes;
  assert.equal(store.recovery.recoveredPages, pagesBefore, place);
  // It takes what comes next, and keeps it.
  commitOne(store, written.session, 100, 50);
  store.close();
  const database = new DatabaseSync(path.join(folder, fileName));
  assert.deepEqual({ ...database.prepare('PRAGMA integrity_check').get() }, { integrity_check: 'ok' }, place);
  assert.equal(database.prepare('SELECT count(*) AS n FROM delivery').get()?.['n'], wanted + 1, place);
  database.close();
  return store.recovery;
}

test('Store: a log that was cut anywhere is there up to the last commit before the cut', () => {
  for (const offset of offsets) {
    const { discardedPages } = requirePrefix(
      damagedCopy((log) => truncateSync(log, offset)),
      offset,
    );
    const isWhole = offset <= logHeaderBytes || written.ends.includes(offset);
    assert.equal(discardedPages === 0, isWhole, `cut at ${offset}`);
  }
});

test('Store: a log with one damaged octet anywhere is there up to the last commit before it, and the rest is counted', () => {
  for (const offset of offsets) {
    const folder = damagedCopy((log) => {
      const octets = readFileSync(log);
      octets.writeUInt8(octets.readUInt8(offset) ^ 0x10, offset);
      writeFileSync(log, octets);
    });
    assert.ok(requirePrefix(folder, offset).discardedPages > 0, `damaged at ${offset}`);
  }
});

test('Store: a log without damage is there to its end', () => {
  const folder = damagedCopy(() => undefined);
  assert.deepEqual(requirePrefix(folder, logBytes), {
    recoveredPages: (logBytes - logHeaderBytes) / frameBytes,
    discardedPages: 0,
  });
});

test('Store: after it was opened nothing that is there rests in the log alone', () => {
  const folder = damagedCopy(() => undefined);
  const store = open(folder);
  assert.equal(statSync(path.join(folder, logName)).size, 0);
  store.close();
});

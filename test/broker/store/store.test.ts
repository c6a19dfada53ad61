import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { UpStore } from '../../../broker/cascade/up-store.ts';
import { neverExpires } from '../../../broker/routing/session.ts';
import { Store } from '../../../broker/store/store.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-store-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/** As the first version of the broker made it. */
const version1 = `
CREATE TABLE session (id INTEGER PRIMARY KEY, identity TEXT NOT NULL, client_id TEXT NOT NULL, disconnected_ms INTEGER,
  UNIQUE (identity, client_id)) STRICT;
CREATE TABLE subscription (session INTEGER NOT NULL, filter TEXT NOT NULL, qos INTEGER NOT NULL,
  PRIMARY KEY (session, filter)) STRICT, WITHOUT ROWID;
CREATE TABLE message (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, pending INTEGER NOT NULL) STRICT;
CREATE INDEX message_done ON message (id) WHERE pending <= 0;
CREATE TABLE delivery (session INTEGER NOT NULL, sequence INTEGER NOT NULL, message INTEGER, qos INTEGER NOT NULL,
  retain INTEGER NOT NULL, bytes INTEGER NOT NULL, released INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (session, sequence)) STRICT, WITHOUT ROWID;
CREATE TABLE incoming_qos2 (session INTEGER NOT NULL, packet_id INTEGER NOT NULL,
  PRIMARY KEY (session, packet_id)) STRICT, WITHOUT ROWID;
CREATE TABLE retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, qos INTEGER NOT NULL, origin TEXT NOT NULL) STRICT;
INSERT INTO session VALUES (3, 'ms-acc-1', 's', 1000);
INSERT INTO subscription VALUES (3, 'ms-acc-1/#', 2);
INSERT INTO message VALUES (9, 'ms-acc-1/x', x'01', 1);
INSERT INTO delivery (session, sequence, message, qos, retain, bytes) VALUES (3, 5, 9, 1, 0, 100);
INSERT INTO incoming_qos2 VALUES (3, 77);
INSERT INTO retained VALUES ('ms-acc-1/r', x'02', 1, 'upstream');
PRAGMA user_version = 1;
`;

test('Store: a file of the first version is brought forward, with all that was in it', () => {
  const database = new DatabaseSync(path.join(directory, 'broker.sqlite'));
  database.exec(version1);
  database.close();
  // Twice, for the second time there is nothing to do.
  for (let opened = 0; opened < 2; opened++) {
    const store = new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
    assert.deepEqual(store.sessions(), [
      {
        id: 3,
        identity: 'ms-acc-1',
        clientId: 's',
        disconnectedMs: 1000,
        expirySeconds: neverExpires,
        lastSent: undefined,
      },
    ]);
    const subscription = { qos: 2, noLocal: false, retainAsPublished: false, identifier: undefined };
    assert.deepEqual(store.subscriptions(), [{ session: 3, filter: 'ms-acc-1/#', subscription }]);
    const none = { properties: Buffer.alloc(0), expiresMs: undefined };
    assert.partialDeepStrictEqual(store.readQueue(3, 0, 10), [
      {
        sequence: 5,
        qos: 1,
        identifiers: Buffer.alloc(0),
        share: undefined,
        message: { id: 9, topic: 'ms-acc-1/x', payload: Buffer.from([1]), pending: 1, ...none },
      },
    ]);
    assert.deepEqual(store.incoming(), [{ session: 3, packetId: 77 }]);
    const retained = { topic: 'ms-acc-1/r', payload: Buffer.from([2]), qos: 1, origin: 'upstream', ...none };
    assert.deepEqual(store.retained(), [retained]);
    assert.deepEqual(store.wills(), []);
    store.close();
  }
});

/** What was set aside, as it was before anything could go back from there. */
const version7 = `
DROP TABLE cascade_refused;
CREATE TABLE cascade_refused (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL,
  refused_ms INTEGER NOT NULL, message INTEGER NOT NULL) STRICT;
INSERT INTO message (id, topic, payload, pending) VALUES (9, 'ms-acc-1/x', x'01', 1);
INSERT INTO cascade_refused VALUES (4, 'ms-acc-1/x', 100, '0x87', 5000, 9);
PRAGMA user_version = 7;
`;

test('Store: what an older version has set aside is brought forward, and can go up again', () => {
  const data = path.join(directory, 'set-aside');
  const open = (): Store => new Store({ directory: data, durability: 'os', onFirstWrite: () => undefined });
  open().close();
  const database = new DatabaseSync(path.join(data, 'broker.sqlite'));
  database.exec(version7);
  database.close();
  const store = open();
  const upStore = new UpStore(store);
  assert.deepEqual(upStore.refused(10), [
    {
      id: 4,
      topic: 'ms-acc-1/x',
      bytes: 100,
      reason: '0x87',
      retain: false,
      queuedMs: 5000,
      refusedMs: 5000,
    },
  ]);
  assert.partialDeepStrictEqual(upStore.keptMessage(4), {
    id: 4,
    sequence: undefined,
    message: { id: 9, payload: Buffer.from([1]) },
  });
  store.close();
});

test('Store: what was delivered long ago leaves no rows and no room', () => {
  const data = path.join(directory, 'delivered');
  const store = new Store({ directory: data, durability: 'os', onFirstWrite: () => undefined });
  const session = store.createSession('ms-acc-1', 's', neverExpires);
  const content = {
    topic: 't',
    payload: Buffer.alloc(200),
    properties: Buffer.alloc(0),
    expiresMs: undefined,
  };
  const terms = { qos: 1, retain: false, identifiers: Buffer.alloc(0), share: undefined } as const;
  const waiting: number[] = [];
  const deliverOldest = (sequence: number): void => {
    store.deleteDelivery(session, sequence - waiting.length);
    store.releaseMessage(waiting.shift() ?? 0, 1);
  };
  // A thousand of them wait at any time.
  for (let sequence = 1; sequence <= 1_000_000; sequence++) {
    if (waiting.length === 1000) deliverOldest(sequence);
    waiting.push(store.insertMessage(content, 1));
    store.enqueue(session, { sequence, bytes: 200, ...terms }, waiting.at(-1) ?? 0);
    if (sequence % 500 === 0) store.commit();
  }
  store.close();
  const file = path.join(data, 'broker.sqlite');
  assert.ok(statSync(file).size < 2_000_000, `${statSync(file).size}`);
  const database = new DatabaseSync(file);
  for (const table of ['message', 'delivery']) {
    assert.deepEqual({ ...database.prepare(`SELECT count(*) AS rows FROM ${table}`).get() }, { rows: 1000 });
  }
  database.close();
});

test('Store: what an ended session leaves goes in bounded pieces, also after a restart, and its number is nobody else has', () => {
  const own = path.join(directory, 'ended');
  const open = (): Store => new Store({ directory: own, durability: 'os', onFirstWrite: () => undefined });
  let store = open();
  const kept = store.createSession('ms-acc-1', 'kept', neverExpires);
  const ended = store.createSession('ms-acc-1', 'ended', neverExpires);
  const terms = { qos: 1, retain: false, identifiers: Buffer.alloc(0), share: undefined } as const;
  const content = { topic: 't', payload: Buffer.of(1), properties: Buffer.alloc(0), expiresMs: undefined };
  for (let sequence = 1; sequence <= 12_000; sequence++) {
    // Each hundredth is in the other queue, too.
    const queues = sequence % 100 === 0 ? [ended, kept] : [ended];
    const message = store.insertMessage(content, queues.length);
    for (const session of queues) store.enqueue(session, { sequence, bytes: 100, ...terms }, message);
  }
  store.deleteSession(ended);
  const left = store.messageCount();
  assert(left > 6000 && left < 12_000, `${left} are left after one piece`);
  store.close();
  store = open();
  assert.notEqual(store.createSession('ms-acc-1', 'ended', neverExpires), ended);
  let pieces = 1;
  while (store.forgetEnded()) pieces++;
  assert(pieces > 1, 'one piece at a time');
  assert.equal(store.messageCount(), 120);
  assert.deepEqual(
    store.queueSizes().map(({ session, messages }) => ({ session, messages })),
    [{ session: kept, messages: 120 }],
  );
  store.close();
});

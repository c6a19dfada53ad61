import assert from 'node:assert/strict';
import { readAlarms } from '../../database/alarms.ts';
import { keepCertificates, readCertificates, readChains } from '../../database/certificates.ts';
import { readChanges } from '../../database/changes.ts';
import {
  addCommand,
  expireCommands,
  finishCommand,
  noteDelivered,
  readCommands,
  readUndelivered,
} from '../../database/commands.ts';
import type { Database } from '../../database/connect.ts';
import {
  readDeadLetters,
  readLettersFor,
  removeDeadLetters,
  storeDeadLetters,
} from '../../database/dead-letters.ts';
import { noteStatus, readDevice, readFleet } from '../../database/fleet.ts';
import { readOpenGaps } from '../../database/gaps.ts';
import { createIngest } from '../../database/ingest.ts';
import { countSnapshots, readTotals } from '../../database/totals.ts';
import {
  addUser,
  endSession,
  findSession,
  findUser,
  openSession,
  readUsers,
  removeUser,
  setPassword,
} from '../../database/users.ts';
import { arrival, startMs } from './arrivals.ts';
import { freshDatabase, testBoth } from './engines.ts';

// Names that a careless prefix would mix up.
const paths = [
  'ms-acc-1/acc-1/dev-1',
  'ms-acc-1/acc-1/dev-10',
  'ms-acc-1/acc-10/dev-1',
  'ms-acc-1.x/acc-1/dev-1',
  'ms-acc-10/acc-1/dev-1',
];
const [first = ''] = paths;

async function filledDatabase(database: Database): Promise<void> {
  const ingest = createIngest(database);
  await ingest.storeBatch(
    paths.flatMap((path) => [
      arrival(path, 2),
      arrival(path, 2),
      arrival(path, 4),
      arrival(path, 4, undefined, { variant: 1 }),
    ]),
  );
  await storeDeadLetters(
    database,
    paths.map((path) => ({
      topic: `${path}/snapshots`,
      devicePath: path,
      reason: 'rejected',
      detail: 'x',
      receivedMs: startMs,
      payload: Buffer.from(path),
    })),
  );
}

const letter = (devicePath: string, n: number) => ({
  topic: 't',
  devicePath,
  reason: n % 2 === 0 ? 'even' : 'odd',
  detail: '\ud800'.repeat(500),
  receivedMs: n,
  payload: Buffer.from([n]),
});
const token = (n: number): Buffer => Buffer.alloc(32, n);

const visible: readonly (readonly [string, readonly string[]])[] = [
  ['', paths],
  ['ms-acc-1', paths.slice(0, 3)],
  ['ms-acc-1/acc-1', paths.slice(0, 2)],
  ['ms-acc-1/acc-1/dev-1', paths.slice(0, 1)],
  ['ms-acc-10', paths.slice(4)],
  ['ms-acc', []],
  ['%', []],
];

testBoth('within: every list shows the subtree of its scope and nothing else', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  await filledDatabase(database);
  for (const [scope, wanted] of visible) {
    const sorted = wanted.toSorted();
    assert.deepEqual(
      (await readFleet(database, scope)).map(({ path }) => path),
      sorted,
      `fleet of "${scope}"`,
    );
    assert.deepEqual((await readAlarms(database, scope)).map(({ path }) => path).toSorted(), sorted);
    assert.deepEqual(
      (await readDeadLetters(database, scope)).map(({ devicePath }) => devicePath).toSorted(),
      sorted,
    );
    for (const path of paths) {
      assert.equal((await readDevice(database, scope, path)) !== undefined, wanted.includes(path));
      assert.equal((await readOpenGaps(database, scope, path)).length, wanted.includes(path) ? 2 : 0);
    }
    const n = wanted.length;
    assert.deepEqual(await readTotals(database, scope), {
      devices: n,
      stored: 2 * n,
      redelivered: n,
      gapsOpen: 2 * n,
      deadLetters: n,
      alarmsOpen: n,
      tasksOpen: 0,
    });
    assert.deepEqual(await countSnapshots(database, scope), { stored: 2 * n, duplicated: 0 });
  }
});

testBoth('readFleet: a row says how the device is', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  await noteStatus(database, first, { state: 'online', agentVersion: '0.1.0' }, startMs);
  const blank = {
    path: first,
    deviceType: '',
    connection: 'online',
    agentVersion: '0.1.0',
    lastSequence: 0,
    stored: 0,
    lastSnapshotMs: null,
    receivedMs: null,
    condition: 'unknown',
    gapsOpen: 0,
    owner: '',
    labels: [],
    technician: '',
  };
  assert.deepEqual(await readFleet(database, ''), [blank]);
  await createIngest(database).storeBatch([arrival(first, 3)]);
  assert.deepEqual(await readDevice(database, '', first), {
    ...blank,
    deviceType: 'FM',
    lastSequence: 3,
    stored: 1,
    lastSnapshotMs: startMs + 3000,
    receivedMs: startMs + 3050,
    gapsOpen: 1,
  });
});

testBoth(
  'storeDeadLetters: the oldest go first, of one device before the others',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const limits = { perDeviceMax: 3, totalMax: 5 };
    const five = [1, 2, 3, 4, 5].map((n) => letter('a/b/c', n));
    assert.deepEqual(await storeDeadLetters(database, five, limits), { even: 1, odd: 1 });
    assert.deepEqual(await storeDeadLetters(database, [letter('a/b/d', 6)], limits), {});
    const shown = async (): Promise<number[]> =>
      (await readDeadLetters(database, '')).map(({ receivedMs }) => receivedMs);
    assert.deepEqual(await shown(), [6, 5, 4, 3]);
    await storeDeadLetters(database, [letter('', 7), letter('', 8)], limits);
    assert.deepEqual(await shown(), [8, 7, 6, 5, 4]);
    const odd = await readLettersFor(database, 'a/b/c', 'odd');
    assert.deepEqual(
      odd.map(({ payload }) => [...payload]),
      [[5]],
    );
    await removeDeadLetters(
      database,
      odd.map(({ id }) => id),
    );
    assert.deepEqual(await shown(), [8, 7, 6, 4]);
  },
);

testBoth('keepCertificates: former chains stay, within a limit', async (context, engine) => {
  const database = await freshDatabase(context, engine);
  const chain = (n: number) => ({
    kind: 'sig' as const,
    sha256: Buffer.alloc(32, n),
    subject: first,
    notBeforeMs: 1,
    notAfterMs: 1000 + n,
    chain: Buffer.from([n]),
  });
  for (let n = 1; n <= 18; n++) await keepCertificates(database, first, [chain(n)], n);
  await keepCertificates(database, first, [chain(5), { ...chain(1), kind: 'enc' }], 50);
  const rows = await readCertificates(database, 'ms-acc-1', first);
  assert.deepEqual(
    rows.map(({ kind, notAfterMs }) => `${kind} ${notAfterMs - 1000}`),
    ['enc 1', 'sig 5', ...[18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 4, 3].map((n) => `sig ${n}`)],
  );
  assert.equal(rows[1]?.sha256, '05'.repeat(32));
  assert.deepEqual(await readCertificates(database, 'ms-acc-10', first), []);
  assert.deepEqual(
    (await readChains(database)).map(({ chain: [n] }) => n),
    [3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 5, 1],
  );
});

testBoth(
  'keepCertificates: several backends keep the same ones at the same time',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const chain = (n: number) => ({
      kind: 'sig' as const,
      sha256: Buffer.alloc(32, n),
      subject: first,
      notBeforeMs: 1,
      notAfterMs: 2,
      chain: Buffer.from([n]),
    });
    for (let n = 1; n <= 16; n++) {
      await Promise.all([1, 2, 3, 4].map((nowMs) => keepCertificates(database, first, [chain(n)], nowMs)));
    }
    assert.equal((await readChains(database)).length, 16);
  },
);

testBoth(
  'finishCommand: a command goes forward only, and only its device may answer',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const command = (id: string, expiresMs = 1000) => ({
      id,
      path: first,
      name: 'ping',
      parameters: { loud: true },
      issuedBy: 'anna',
      issuedMs: 10,
      expiresMs,
    });
    const places: unknown[] = [];
    const seal = (place: { sequence: number; previousDigest: Uint8Array | undefined }) => {
      places.push([place.sequence, place.previousDigest && [...place.previousDigest]]);
      return { envelope: Buffer.from(`e${place.sequence}`), digest: Buffer.from([place.sequence]) };
    };
    await addCommand(database, command('c-1'), seal);
    await assert.rejects(() => addCommand(database, command('c-1'), seal), { code: 'database.conflict' });
    assert.deepEqual(
      (await readUndelivered(database)).map(({ envelope, ...row }) => ({
        ...row,
        envelope: String(Buffer.from(envelope)),
      })),
      [{ id: 'c-1', path: first, envelope: 'e1' }],
    );
    await noteDelivered(database, 'c-1', 20);
    assert.deepEqual(await readUndelivered(database), []);
    const answer = { id: 'c-1', outcome: 'done' as const, detail: 'pong' };
    assert.equal(await finishCommand(database, paths[1] ?? '', answer, 30), false);
    assert.equal(await finishCommand(database, first, answer, 30), true);
    assert.equal(await finishCommand(database, first, { ...answer, outcome: 'refused' }, 40), false);
    await noteDelivered(database, 'c-1', 50);
    await addCommand(database, command('c-2', 60), seal);
    assert.equal(await expireCommands(database, 59), 0);
    assert.equal(await expireCommands(database, 60), 1);
    assert.deepEqual(
      (await readCommands(database, 'ms-acc-1', first))
        .map(({ id, state, detail }) => `${id} ${state} ${detail}`)
        .toSorted(),
      ['c-1 done pong', 'c-2 expired no answer in time'],
    );
    assert.deepEqual(await readCommands(database, 'ms-acc-10', first), []);
    assert.deepEqual(places, [
      [1, undefined],
      [2, [1]], // the transaction that was refused
      [2, [1]],
    ]);
    assert.ok(((await readChanges(database)).get('commands') ?? 0) >= 4);
  },
);

testBoth(
  'findSession: a session lasts until it expires, is ended, or its user changes',
  async (context, engine) => {
    const database = await freshDatabase(context, engine);
    const anna = { name: 'anna', role: 'viewer' as const, scope: 'ms-acc-1', passwordHash: 'h' };
    await addUser(database, anna, 1);
    await assert.rejects(() => addUser(database, anna, 1), { code: 'database.conflict' });
    const user = await findUser(database, 'anna');
    assert.ok(user);
    assert.equal(await findUser(database, 'Anna'), undefined);
    for (const n of [1, 2, 3]) await openSession(database, token(n), user.id, 10, 100 + n);
    assert.deepEqual(await findSession(database, token(1), 100), {
      id: user.id,
      name: 'anna',
      role: 'viewer',
      scope: 'ms-acc-1',
    });
    assert.equal(await findSession(database, token(1), 101), undefined);
    await endSession(database, token(2));
    assert.equal(await findSession(database, token(2), 20), undefined);
    assert.equal(await setPassword(database, 'anna', 'h2'), true);
    assert.equal(await findSession(database, token(3), 20), undefined);
    await openSession(database, token(4), user.id, 20, 200);
    assert.equal(await removeUser(database, 'anna'), true);
    assert.equal(await removeUser(database, 'anna'), false);
    assert.equal(await findSession(database, token(4), 30), undefined);
    assert.deepEqual(await readUsers(database), []);
  },
);

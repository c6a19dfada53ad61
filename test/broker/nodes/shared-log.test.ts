import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { Redis } from 'ioredis';
import type { ClusterConfig } from '../../../broker/nodes/cluster-config.ts';
import { EntryWriter, emptyEntry, readEntry } from '../../../broker/nodes/entry.ts';
import { Replica, storeFileName } from '../../../broker/nodes/replica.ts';
import { Replicator } from '../../../broker/nodes/replicator.ts';
import { SharedLog } from '../../../broker/nodes/shared-log.ts';
import type { Claim, Place } from '../../../broker/nodes/shared-log.ts';
import { neverExpires } from '../../../broker/routing/session.ts';
import { Store } from '../../../broker/store/store.ts';
import { schemaVersion } from '../../../broker/store/store-schema.ts';
import { sql } from '../../../broker/store/store-statements.ts';
import { Journal } from '../fixture.ts';
import type { RedisProcess } from '../../../soak/redis-process.ts';
import { killRedisProcesses, startRedis } from '../../../soak/redis-process.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'plombe-nodes-'));
const logs: SharedLog[] = [];
let redis: RedisProcess;
before(async () => {
  redis = await startRedis(path.join(directory, 'redis'));
});
after(async () => {
  for (const log of logs) log.close();
  await killRedisProcesses();
  rmSync(directory, { recursive: true, force: true });
});

const endpoint = { host: '127.0.0.1', port: 1 };

function configOf(name: string, node: string, settings: Partial<ClusterConfig> = {}): ClusterConfig {
  return {
    redis: redis.url,
    name,
    node,
    listen: endpoint,
    advertise: endpoint,
    leaseSeconds: 60,
    log: { entriesMax: 1000, bytesMax: 1024 ** 3, claimMinutes: 10 },
    restore: false,
    ...settings,
  };
}

async function openLog(
  name: string,
  node: string,
  settings: Partial<ClusterConfig> = {},
): Promise<SharedLog> {
  const log = new SharedLog(configOf(name, node, settings), new Journal().log);
  logs.push(log);
  await log.untilConnected(AbortSignal.timeout(20_000));
  return log;
}

const start: Place = { lineage: 'l', position: 0, epoch: 0 };

/** A cluster of a name of its own, whose node `a` is active. */
async function foundedBy(name: string): Promise<{ a: SharedLog; place: Place }> {
  const a = await openLog(name, 'a');
  assert.equal(await a.found(start), 'l');
  return { a, place: { ...start, epoch: await acquired(a, start) } };
}

/** @returns the epoch of the lease that it gets */
async function acquired(log: SharedLog, place: Place, claim: Claim = 'any'): Promise<number> {
  const campaign = await log.campaign(place, claim);
  assert.equal(campaign.kind, 'acquired');
  return campaign.kind === 'acquired' ? campaign.epoch : 0;
}

test('SharedLog.requireDurability: a Redis that may forget is refused, with what it has and what is wanted', async () => {
  await (await openLog('durable', 'a')).requireDurability();
  const careless = await startRedis(path.join(directory, 'careless'), []);
  const log = await openLog('careless', 'a', { redis: careless.url });
  await assert.rejects(log.requireDurability(), {
    code: 'broker.cluster_refused',
    message: /wants Redis with "appendonly yes" and "appendfsync always", it has "appendonly no"/,
  });
  log.close();
  await careless.stop();
});

test('SharedLog.campaign: one node has the lease; the others learn who', async () => {
  const { place } = await foundedBy('lease');
  const b = await openLog('lease', 'b');
  assert.partialDeepStrictEqual(await b.campaign(start, 'any'), {
    kind: 'held',
    holder: { node: 'a', address: '127.0.0.1:1', epoch: place.epoch },
    isKnown: true,
  });
  assert.equal((await b.campaign({ ...start, lineage: 'other' }, 'any')).kind, 'foreign');
  assert.equal((await (await openLog('lease-none', 'b')).campaign(start, 'any')).kind, 'unfounded');
  await b.release({ ...place, epoch: place.epoch + 1 });
  assert.equal((await b.campaign(start, 'any')).kind, 'held', 'only its holder gives it back');
});

test('SharedLog.campaign: who lacks an entry does not lead; who has more than Redis does, on a log that begins there', async () => {
  const { a, place } = await foundedBy('behind');
  assert.deepEqual(await a.append(place, 1, [emptyEntry(), emptyEntry()]), { kind: 'ok' });
  await a.release(place);
  const b = await openLog('behind', 'b');
  assert.partialDeepStrictEqual(await b.campaign(start, 'any'), { kind: 'open', isKnown: true, position: 2 });
  assert.partialDeepStrictEqual(await b.campaign({ ...start, position: 3, epoch: 0 }, 'any'), {
    kind: 'open',
    isKnown: false,
  });
  const ahead = { ...place, position: 4 };
  assert.partialDeepStrictEqual(await b.campaign(ahead, 'even'), { kind: 'open', isAhead: true });
  const epoch = await acquired(b, ahead);
  assert.deepEqual(await b.read({ position: 0, epoch: 0 }, 1), []);
  assert.deepEqual(await b.append({ ...place, epoch }, 5, [emptyEntry()]), { kind: 'ok' });
  assert.partialDeepStrictEqual(await a.campaign({ ...place, position: 2 }, 'none'), { isKnown: false });
});

test('SharedLog: a Redis that was set back to before an epoch is told of it by whoever is active; none comes twice', async () => {
  const { a, place } = await foundedBy('set-back');
  const later = { ...place, epoch: place.epoch + 5 };
  assert.deepEqual(await a.append(later, 8, [emptyEntry()]), { kind: 'unfounded' });
  assert.deepEqual(await a.renew(later), { kind: 'unfounded' });
  const b = await openLog('set-back', 'b');
  await a.release(place);
  const copy = { ...later, position: 7 };
  assert.partialDeepStrictEqual(await b.campaign(copy, 'even'), { kind: 'open', isAhead: true });
  assert.equal(await a.rebase(later, copy), 'ok');
  assert.deepEqual(await a.append(later, 8, [emptyEntry()]), { kind: 'ok' });
  assert.deepEqual(await a.renew(place), { kind: 'fenced' }, 'the epoch before is over');
  assert((await acquired(b, { ...later, position: 8 }, 'even')) > later.epoch);
});

/** What Redis holds of a cluster. @returns puts it back, without the lease, which is over by then */
async function backUp(name: string): Promise<() => Promise<void>> {
  const connection = new Redis(redis.url);
  const keys = ['meta', 'log', 'members'].map((key) => `plombe:{${name}}:${key}`);
  const dumps = await Promise.all(keys.map((key) => connection.dumpBuffer(key)));
  return async () => {
    await connection.del(...keys, `plombe:{${name}}:lease`);
    for (const [index, key] of keys.entries()) {
      const dump = dumps[index];
      if (dump) await connection.restore(key, 0, dump);
    }
    connection.disconnect();
  };
}

test('SharedLog.campaign: an epoch that a Redis which was set back has forgotten is not given out again', async () => {
  const { a, place } = await foundedBy('forgotten');
  const [b, c] = [await openLog('forgotten', 'b'), await openLog('forgotten', 'c')];
  const setBack = await backUp('forgotten');
  await a.release(place);
  const active = { ...start, epoch: await acquired(b, start) };
  assert.deepEqual(await b.append(active, 1, [emptyEntry()]), { kind: 'ok' });
  await setBack();
  // It was away, and its copy is as old as what Redis was set back to.
  const epoch = await acquired(c, start, 'even');
  assert(epoch > active.epoch);
  assert.deepEqual(await c.append({ ...start, epoch }, 1, [Buffer.from('other')]), { kind: 'ok' });
  assert.deepEqual(await b.renew(active), { kind: 'fenced' }, 'the two are not active at the same time');
  assert.deepEqual(await b.append(active, 2, [emptyEntry()]), { kind: 'fenced' });
  assert.equal(await b.rebase(active, { position: 1, epoch: active.epoch }), 'fenced');
});

test('SharedLog.campaign: who has less than another one who is there does not lead, whatever Redis remembers', async () => {
  const { a, place } = await foundedBy('most');
  const [b, c] = [await openLog('most', 'b'), await openLog('most', 'c')];
  const setBack = await backUp('most');
  await a.append(place, 1, [emptyEntry(), emptyEntry()]);
  await setBack();
  const [most, less] = [
    { ...place, position: 2 },
    { ...place, position: 1 },
  ];
  assert.partialDeepStrictEqual(await b.campaign(most, 'even'), { kind: 'open', isAhead: true });
  assert.equal((await c.campaign(less, 'any')).kind, 'open');
  assert.equal((await c.campaign(start, 'any')).kind, 'open');
  await b.leave(most);
  assert((await acquired(c, less)) > place.epoch, 'whoever has more is not there any more');
});

test('SharedLog.campaign: a name is that of one process for a lease after its last word, or until it leaves', async () => {
  const { a } = await foundedBy('name');
  const twin = await openLog('name', 'a', { leaseSeconds: 60 });
  assert.deepEqual(await twin.campaign(start, 'any'), { kind: 'namesake' });
  await a.leave(start);
  assert.equal((await twin.campaign(start, 'any')).kind, 'held');
  assert.deepEqual(await a.campaign(start, 'none'), { kind: 'namesake' });
  const impatient = await openLog('name', 'a', { leaseSeconds: 0 });
  await new Promise((resolve) => setTimeout(resolve, 2)); // the clock of Redis moves on by its unit
  assert.equal((await impatient.campaign(start, 'none')).kind, 'held');
});

test('SharedLog.append: twice is as good as once; gaps, and an epoch that is over, are refused', async () => {
  const { a, place } = await foundedBy('append');
  const entries = ['one', 'two', 'three'].map((text) => Buffer.from(text));
  assert.deepEqual(await a.append(place, 1, entries.slice(0, 2)), { kind: 'ok' });
  assert.deepEqual(await a.append(place, 1, entries), { kind: 'ok' });
  assert.deepEqual(await a.append(place, 1, entries), { kind: 'ok' });
  assert.deepEqual(await a.append(place, 9, entries), { kind: 'behind', position: 3 });
  const got = await a.read({ position: 0, epoch: 0 }, 1);
  assert.deepEqual(
    got.map(({ position, epoch, entry }) => [position, epoch, entry.toString()]),
    [
      [1, place.epoch, 'one'],
      [2, place.epoch, 'two'],
      [3, place.epoch, 'three'],
    ],
  );
  await a.release(place);
  const b = await openLog('append', 'b');
  assert((await acquired(b, { ...place, position: 3 })) > place.epoch);
  assert.deepEqual(await a.append(place, 4, entries), { kind: 'fenced' });
  assert.deepEqual(await a.renew(place), { kind: 'fenced' });
  assert.equal((await b.read({ ...place, position: 3 }, 1)).length, 0, 'nothing of the old epoch came in');
});

test('SharedLog.trim: keeps what a member has not got yet, and its last entry', async () => {
  const { a, place } = await foundedBy('trim');
  await a.append(place, 1, Array.from({ length: 10 }, emptyEntry));
  const b = await openLog('trim', 'b');
  await b.campaign({ ...place, position: 4 }, 'none');
  await a.renew({ ...place, position: 10 });
  assert.deepEqual(await a.trim(place), { trimmed: 3, first: 4 });
  assert.partialDeepStrictEqual(await b.campaign({ ...place, position: 4 }, 'none'), {
    isKnown: true,
  });
  assert.deepEqual((await b.read({ ...place, position: 4 }, 1)).length, 6);
  assert.partialDeepStrictEqual(await b.campaign({ ...place, position: 2 }, 'none'), {
    isKnown: false,
  });
});

test('SharedLog.trim: keeps what follows a snapshot whose receiver has not said yet where it is', async () => {
  const { a, place } = await foundedBy('snapshot');
  await a.append(place, 1, Array.from({ length: 10 }, emptyEntry));
  await a.renew({ ...place, position: 10 });
  assert.deepEqual(await a.trim(place, 7), { trimmed: 6, first: 7 });
  const receiver = await openLog('snapshot', 'new');
  const at = { ...place, position: 7 };
  assert.partialDeepStrictEqual(await receiver.campaign(at, 'none'), { kind: 'held', isKnown: true });
  assert.deepEqual(await a.trim(place), { trimmed: 0, first: 7 }, 'from then on it has a claim');
});

test('SharedLog.trim: a member that stays away loses its claim, and so does one that would cost too much', async () => {
  const { a, place } = await foundedBy('claims');
  await a.append(place, 1, Array.from({ length: 10 }, emptyEntry));
  await a.renew({ ...place, position: 10 });
  const few = await openLog('claims', 'c', { log: { entriesMax: 6, bytesMax: 1024 ** 3, claimMinutes: 10 } });
  await few.campaign(start, 'none');
  assert.deepEqual(await few.trim(place), { trimmed: 4, first: 5 });
  const impatient = await openLog('claims', 'd', {
    log: { entriesMax: 1000, bytesMax: 1024 ** 3, claimMinutes: 0 },
  });
  await new Promise((resolve) => setTimeout(resolve, 2)); // the clock of Redis moves on by its unit
  assert.deepEqual(await impatient.trim(place), { trimmed: 5, first: 10 });
});

test('readEntry: what a transaction wrote comes back; of another version nothing does', () => {
  const value = fc.oneof(
    fc.constant(null),
    fc.string({ unit: 'grapheme' }),
    fc.integer(),
    fc.double({ noNaN: true }).filter((double) => !Object.is(double, -0)),
    fc.nat(Number.MAX_SAFE_INTEGER),
    fc.uint8Array({ maxLength: 9000 }).map((octets) => Buffer.from(octets)),
  );
  const write = fc.record(
    { statement: fc.constantFrom(...Object.values(sql)), values: fc.array(value, { maxLength: 12 }) },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(fc.array(write, { maxLength: 5 }), { maxLength: 4 }), (transactions) => {
      const writer = new EntryWriter();
      const entries = transactions.map((writes) => {
        for (const { statement, values } of writes) writer.add(statement, values);
        return writer.take();
      });
      assert.deepEqual(entries.map(readEntry), transactions);
    }),
  );
  const foreign = emptyEntry();
  foreign.writeUInt8(foreign.readUInt8() ^ 1);
  assert.equal(readEntry(foreign), undefined);
  assert(schemaVersion > 0);
});

/** Every row of every table. */
function contentOf(folder: string): unknown {
  const database = new DatabaseSync(path.join(folder, storeFileName), { readOnly: true });
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all();
  const content = tables.map(({ name }) => [
    name,
    database.prepare(`SELECT * FROM ${String(name)} ORDER BY 1, 2`).all(),
  ]);
  database.close();
  return content;
}

test('Replica: whatever a store writes, a copy that follows is the same, row by row', async () => {
  const topic = fc.constantFrom('a', 'a/b', 'c');
  const action = fc.oneof(
    fc.record({ do: fc.constant('session' as const), client: fc.nat(3) }),
    fc.record({ do: fc.constant('end' as const), session: fc.nat(5) }),
    fc.record({
      do: fc.constant('publish' as const),
      topic,
      sessions: fc.uniqueArray(fc.nat(3), { maxLength: 3 }),
    }),
    fc.record({ do: fc.constant('release' as const), message: fc.nat(6) }),
    fc.record({ do: fc.constant('retain' as const), topic }),
    fc.record({ do: fc.constant('commit' as const) }),
  );
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
      const name = `follow-${run++}`;
      const folders = { source: path.join(directory, `${name}-a`), copy: path.join(directory, `${name}-b`) };
      const { a, place } = await foundedBy(name);
      for (const folder of Object.values(folders)) {
        mkdirSync(folder);
        const replica = new Replica(folder, { durability: 'os' });
        replica.beginLineage('l');
        if (folder === folders.source) replica.moveTo({ ...place, position: 1 });
        replica.close();
      }
      const replicator = new Replicator({
        log: new Journal().log,
        sharedLog: a,
        place: start,
        epoch: place.epoch,
        onHold: () => undefined,
        onFenced: () => assert.fail('nobody else wants it'),
      });
      await replicator.begin();
      const store = new Store({
        directory: folders.source,
        durability: 'os',
        locking: 'shared',
        journal: replicator,
        onFirstWrite: () => undefined,
      });
      runActions(store, actions);
      store.commit();
      await new Promise<void>((resolve) => replicator.confirm(resolve));
      const replica = new Replica(folders.copy, { durability: 'os' });
      for (;;) {
        const entries = await a.read(replica.place ?? start, 1);
        if (entries.length === 0) break;
        assert.equal(replica.apply(entries), 'ok');
      }
      assert.deepEqual(replica.place, { ...replicator.place });
      store.close();
      replica.close();
      assert.deepEqual(contentOf(folders.copy), contentOf(folders.source));
      a.close();
    }),
    { numRuns: 25 },
  );
});

type Action =
  | { readonly do: 'session'; readonly client: number }
  | { readonly do: 'end'; readonly session: number }
  | { readonly do: 'publish'; readonly topic: string; readonly sessions: readonly number[] }
  | { readonly do: 'release'; readonly message: number }
  | { readonly do: 'retain'; readonly topic: string }
  | { readonly do: 'commit' };

function runActions(store: Store, actions: readonly Action[]): void {
  const sessions: number[] = [];
  const messages = new Map<number, number>();
  let sequence = 0;
  const content = (topic: string) => ({
    topic,
    payload: Buffer.from(`payload ${sequence}`),
    properties: Buffer.alloc(0),
    expiresMs: sequence % 2 === 0 ? undefined : 2 ** 41,
  });
  for (const action of actions) {
    if (action.do === 'session') {
      if (sessions[action.client] !== undefined) continue;
      sessions[action.client] = store.createSession('ms-acc-1', `client-${action.client}`, neverExpires);
    } else if (action.do === 'end') {
      const [session] = sessions.splice(action.session, 1, 0);
      if (session !== undefined && session > 0) store.deleteSession(session);
    } else if (action.do === 'publish') {
      const live = action.sessions.map((index) => sessions[index] ?? 0).filter((session) => session > 0);
      const message = store.insertMessage(content(action.topic), live.length);
      messages.set(message, live.length);
      for (const session of live) {
        const terms = {
          qos: 1,
          retain: false,
          bytes: 9,
          identifiers: Buffer.alloc(0),
          share: undefined,
        } as const;
        store.enqueue(session, { sequence: ++sequence, ...terms }, message);
      }
    } else if (action.do === 'release') {
      const [entry] = [...messages].slice(action.message);
      if (entry !== undefined) store.releaseMessage(...entry);
    } else if (action.do === 'retain') {
      store.putRetained({ ...content(action.topic), qos: 1, origin: 'client' });
    } else {
      store.commit();
    }
  }
}

test('Replica.apply: a gap, an older epoch and an entry that does not fit change nothing', () => {
  const folder = path.join(directory, 'gap');
  const replica = new Replica(folder, { durability: 'os' });
  replica.beginLineage('l');
  const entry = emptyEntry();
  assert.equal(replica.apply([{ position: 1, epoch: 2, entry }]), 'ok');
  assert.equal(replica.apply([{ position: 3, epoch: 2, entry }]), 'diverged');
  assert.equal(replica.apply([{ position: 2, epoch: 1, entry }]), 'diverged');
  const writer = new EntryWriter();
  writer.add(sql.addIncoming, [1, 7]);
  writer.add(sql.addIncoming, [1, 7]);
  assert.equal(replica.apply([{ position: 2, epoch: 2, entry: writer.take() }]), 'diverged');
  assert.equal(replica.apply([{ position: 2, epoch: 2, entry: Buffer.from('????') }]), 'other_version');
  assert(replica.isEmpty);
  assert.deepEqual(replica.place, { lineage: 'l', position: 1, epoch: 2 });
  replica.close();
});

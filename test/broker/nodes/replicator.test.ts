import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Replicator } from '../../../broker/nodes/replicator.ts';
import type { Appended, Place } from '../../../broker/nodes/shared-log.ts';
import type { Mark } from '../../../broker/store/journal.ts';
import { sql } from '../../../broker/store/store-statements.ts';
import { Journal } from '../fixture.ts';

/** A log in memory that a test can make forget, refuse and fail. */
class MemoryLog {
  first = 1;
  readonly entries: Buffer[] = [];
  readonly rebased: Mark[] = [];
  isAway = false;
  isTaken = false;
  #waiting: (() => void)[] = [];

  get last(): number {
    return this.first + this.entries.length - 1;
  }

  append(_place: Place, first: number, entries: readonly Buffer[]): Promise<Appended> {
    if (this.isAway) return Promise.reject(new Error('away'));
    if (this.isTaken) return Promise.resolve({ kind: 'fenced' });
    if (this.last + 1 < first) return Promise.resolve({ kind: 'behind', position: this.last });
    this.entries.push(...entries.slice(this.last + 1 - first));
    for (const wake of this.#waiting.splice(0)) wake();
    return Promise.resolve({ kind: 'ok' });
  }

  rebase(_place: Place, base: Mark): Promise<'ok'> {
    this.rebased.push(base);
    this.entries.length = 0;
    this.first = base.position + 1;
    return Promise.resolve('ok');
  }

  /** Forgets all after a position, as a Redis that did not sync. */
  forgetAfter(position: number): void {
    this.entries.length = Math.max(0, position + 1 - this.first);
  }

  /** Resolves when it has one more entry. */
  async grown(): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

const place: Place = { lineage: 'l', position: 0, epoch: 3 };

interface Setting {
  readonly log: MemoryLog;
  readonly replicator: Replicator;
  readonly held: boolean[];
  readonly fenced: Promise<void>;
  readonly journal: Journal;
}

function setting(): Setting {
  const log = new MemoryLog();
  const held: boolean[] = [];
  const journal = new Journal();
  const fences = Promise.withResolvers<void>();
  const replicator = new Replicator({
    log: journal.log,
    sharedLog: log,
    place,
    epoch: 4,
    onHold: (isHeld) => held.push(isHeld),
    onFenced: fences.resolve,
  });
  return { log, replicator, held, fenced: fences.promise, journal };
}

function commit(replicator: Replicator, text = 'x'): void {
  replicator.record(sql.deleteRetained, [text]);
  assert.deepEqual(replicator.mark(), { position: replicator.place.position + 1, epoch: 4 });
  replicator.committed();
}

function confirmed(replicator: Replicator): Promise<void> {
  return new Promise((resolve) => replicator.confirm(resolve));
}

test('Replicator.confirm: promises are kept in order, each once all before it is in the log', async () => {
  const { log, replicator } = setting();
  await replicator.begin();
  const kept: string[] = [];
  commit(replicator);
  replicator.confirm(() => kept.push(log.last >= 2 ? 'one' : 'one, too early'));
  commit(replicator);
  replicator.confirm(() => kept.push(log.last >= 3 ? 'two' : 'two, too early'));
  replicator.confirm(() => kept.push('nothing written'));
  assert.deepEqual(kept, []);
  await confirmed(replicator);
  assert.deepEqual(kept, ['one', 'two', 'nothing written']);
  const atOnce: string[] = [];
  replicator.confirm(() => atOnce.push('at once'));
  assert.equal(atOnce.length, 1);
});

test('Replicator: while Redis is away nothing is promised; too much holds the publishers until it is back', async () => {
  const { log, replicator, held, journal } = setting();
  await replicator.begin();
  log.isAway = true;
  let promised = 0;
  for (let count = 0; count < 5000; count++) {
    commit(replicator);
    replicator.confirm(() => promised++);
  }
  await journal.until('node.append_failed', { reason: 'away' });
  assert.equal(replicator.failure, 'away');
  assert.deepEqual([promised, held[0]], [0, true]);
  log.isAway = false;
  await confirmed(replicator);
  assert.deepEqual([promised, held.at(-1), replicator.failure, log.last], [5000, false, undefined, 5001]);
});

test('Replicator: a log that lost what it had confirmed gets it again, and nothing is promised twice', async () => {
  const { log, replicator } = setting();
  await replicator.begin();
  let promised = 0;
  for (let count = 0; count < 10; count++) {
    commit(replicator, String(count));
    replicator.confirm(() => promised++);
  }
  await confirmed(replicator);
  const before = [...log.entries];
  log.forgetAfter(4);
  commit(replicator, 'next');
  await confirmed(replicator);
  assert.deepEqual(log.entries.slice(0, before.length), before);
  assert.deepEqual([log.last, promised, log.rebased], [12, 10, []]);
  log.forgetAfter(7);
  await new Promise((resolve) => setImmediate(resolve)); // nothing is on its way any more
  const grown = log.grown();
  replicator.compare(7);
  await grown;
  assert.equal(log.last, 12, 'also when nothing is written');
});

test('Replicator: a log that lost more than is in memory begins anew after the oldest entry that is', async () => {
  const { log, replicator, journal } = setting();
  await replicator.begin();
  const large = 'x'.repeat(64 * 1024);
  for (let count = 0; count < 400; count++) {
    commit(replicator, large);
    await confirmed(replicator);
  }
  log.forgetAfter(1);
  commit(replicator);
  await confirmed(replicator);
  const [base] = log.rebased;
  assert(base !== undefined && base.position > 1 && base.epoch === 4);
  assert.equal(log.last, 402);
  await journal.until('node.log_rebased', { position: base.position });
});

test('Replicator: another node has the lease: nothing that waits is ever promised', async () => {
  const { log, replicator, fenced } = setting();
  await replicator.begin();
  log.isTaken = true;
  commit(replicator);
  replicator.confirm(() => assert.fail('another node is active'));
  await fenced;
  replicator.stop();
  log.isTaken = false;
  await new Promise((resolve) => setImmediate(resolve));
});

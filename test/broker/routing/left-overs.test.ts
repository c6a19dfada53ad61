import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { LeftOvers, pieceDeliveries } from '../../../broker/routing/left-overs.ts';
import { noBytes } from '../../../broker/routing/message.ts';
import type { Delivery } from '../../../broker/routing/message.ts';
import { neverExpires } from '../../../broker/routing/session.ts';
import type { Session } from '../../../broker/routing/session.ts';
import { Store } from '../../../broker/store/store.ts';

const share = '$share/g/+/+/+/snapshots';
const plain = { retain: false, identifiers: noBytes, bytes: 100 } as const;

/** A session that leaves things, and one that gets them; the process ends when the test says so. */
class Household {
  readonly #directory = mkdtempSync(path.join(tmpdir(), 'plombe-left-'));
  store = this.#open();
  readonly ended = this.store.createSession('ms-acc-1', 'ended', neverExpires);
  readonly heir = this.store.createSession('ms-acc-1', 'heir', neverExpires);
  turns: (() => void)[] = [];
  passed = 0;
  leftOvers = this.#begin();

  constructor(context: TestContext) {
    context.after(() => {
      this.store.abandon();
      rmSync(this.#directory, { recursive: true, force: true });
    });
  }

  queue(sequence: number, text: string, isShared: boolean, qos: 1 | 2 = 1): void {
    const content = { topic: 't', payload: Buffer.from(text), properties: noBytes, expiresMs: undefined };
    const delivery = { sequence, qos, share: isShared ? share : undefined, ...plain };
    this.store.enqueue(this.ended, delivery, this.store.insertMessage(content, 1));
  }

  end(seenUpTo: number): void {
    this.leftOvers.add({
      identity: 'ms-acc-1',
      storedId: this.ended,
      queue: { seenUpTo, shared: () => assert.fail('it is stored') },
    } as unknown as Session);
    this.store.deleteSession(this.ended);
  }

  /** @returns whether there was one */
  nextTurn(): boolean {
    this.passed = 0;
    const work = this.turns.shift();
    work?.();
    return work !== undefined;
  }

  crash(): void {
    this.store.abandon();
    this.store = this.#open();
    this.turns = [];
    this.leftOvers = this.#begin();
  }

  /** What the heir has. */
  texts(): string[] {
    return this.store
      .readQueue(this.heir, 0, 100_000)
      .map(({ message }) => message?.payload.toString() ?? '');
  }

  #open(): Store {
    return new Store({ directory: this.#directory, durability: 'os', onFirstWrite: () => undefined });
  }

  #begin(): LeftOvers {
    let sequence = this.store.queueSizes().find(({ session }) => session === this.heir)?.lastSequence ?? 0;
    return new LeftOvers({
      store: this.store,
      pass: (identity, { qos, share: filter }, content) => {
        assert.equal(identity, 'ms-acc-1');
        assert.equal(filter, share);
        this.passed++;
        const delivery = { sequence: ++sequence, qos, share: filter, ...plain };
        this.store.enqueue(this.heir, delivery, this.store.insertMessage(content, 1));
      },
      later: (work) => this.turns.push(work),
    });
  }
}

test('LeftOvers: a long queue moves in bounded pieces, and after a crash at any of them nothing is lost, twice or out of order', (context) => {
  const house = new Household(context);
  const expected: string[] = [];
  for (let sequence = 1; sequence <= 9 * pieceDeliveries; sequence++) {
    const isShared = sequence % 2 === 0;
    if (isShared) expected.push(String(sequence));
    house.queue(sequence, String(sequence), isShared);
  }
  house.store.commit();
  house.end(0);
  assert.equal(house.passed, pieceDeliveries);
  house.store.commit();
  for (let turn = 0; ; turn++) {
    // The power goes every other time, before the commit or after it.
    if (turn % 4 === 1) house.store.commit();
    if (turn % 2 === 1) house.crash();
    if (!house.nextTurn()) break;
    assert(house.passed <= pieceDeliveries);
    if (turn % 2 === 0 && turn % 4 !== 0) house.store.commit();
    assert(turn < 40);
  }
  assert.deepEqual(house.texts(), expected);
  house.store.commit();
  house.crash();
  assert.equal(house.turns.length, 0);
  while (house.store.forgetEnded());
  assert.equal(house.store.messageCount(), expected.length);
  assert.deepEqual(
    house.store.queueSizes().map(({ session }) => session),
    [house.heir],
  );
});

test('LeftOvers: what of QoS 2 the client may have seen goes to nobody, also after a restart', (context) => {
  const house = new Household(context);
  for (let sequence = 1; sequence <= 4 * pieceDeliveries; sequence++) {
    house.queue(sequence, String(sequence), true, sequence % 2 === 0 ? 2 : 1);
  }
  const seenUpTo = 3 * pieceDeliveries;
  house.end(seenUpTo);
  house.store.commit();
  house.crash();
  while (house.nextTurn());
  const isExpected = (sequence: number): boolean => sequence % 2 === 1 || sequence > seenUpTo;
  const all = Array.from({ length: 4 * pieceDeliveries }, (_, index) => index + 1);
  assert.deepEqual(house.texts(), all.filter(isExpected).map(String));
});

test('LeftOvers: what is left of a session that shared nothing is not looked at, and a new session has another number', (context) => {
  const house = new Household(context);
  house.queue(1, 'own', false);
  house.end(0);
  assert.equal(house.turns.length, 0);
  assert.deepEqual(house.store.leaving(), []);
  house.store.commit();
  house.crash();
  assert.equal(house.store.messageCount(), 0);
  assert(house.store.createSession('ms-acc-1', 'ended', neverExpires) > house.heir);
});

test('LeftOvers: what a clean session had in memory goes in pieces as well', (context) => {
  const house = new Household(context);
  const message = {
    id: 0,
    storedTargets: 0,
    topic: 't',
    payload: noBytes,
    properties: noBytes,
    expiresMs: undefined,
  };
  const delivery = { ...plain, packetId: 1, qos: 1, share, state: 'queued', duplicate: false } as const;
  const deliveries = Array.from({ length: 2 * pieceDeliveries + 1 }, (_, index): Delivery => ({
    ...delivery,
    sequence: index + 1,
    message: { ...message, payload: Buffer.from(String(index)) },
  }));
  const expected = deliveries.map((_, index) => String(index));
  const queue = { shared: () => deliveries };
  house.leftOvers.add({ identity: 'ms-acc-1', storedId: undefined, queue } as unknown as Session);
  assert.equal(house.passed, pieceDeliveries);
  for (const count of [pieceDeliveries, 1]) {
    assert(house.nextTurn());
    assert.equal(house.passed, count);
  }
  assert(!house.nextTurn());
  assert.deepEqual(house.texts(), expected);
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DeliveryQueue, turnDeliveries } from '../../../broker/routing/delivery-queue.ts';
import type { ExistingQueue, Outlet } from '../../../broker/routing/delivery-queue.ts';
import type { Message } from '../../../broker/routing/message.ts';
import { noBytes } from '../../../broker/routing/message.ts';
import { neverExpires } from '../../../broker/routing/session.ts';
import { limitsType } from '../../../broker/limits.ts';
import { QueuedShares } from '../../../broker/quota/queued-shares.ts';
import { Store } from '../../../broker/store/store.ts';

const limits = {
  inFlightMax: 4,
  queuedMessagesMax: 10_000,
  queuedBytesMax: 1e9,
  memoryQueuedMessagesMax: 10_000,
  memoryQueuedBytesMax: 1e9,
};

const terms = { qos: 2, retain: false, identifiers: noBytes, share: undefined } as const;

/** A client that answers when the test says so. */
class Subscriber implements Outlet {
  isReady = true;
  /** How often the queue asked for another turn. */
  rests = 0;
  readonly seen: { text: string; duplicate: boolean }[];
  readonly unanswered: { packetId: number; step: 'puback' | 'pubrec' | 'pubcomp' }[] = [];
  readonly received: Set<string>;
  readonly #texts = new Map<number, string>();

  /** @param seen - over all connections; @param received - QoS 2 texts that were answered with PUBREC */
  constructor(seen: { text: string; duplicate: boolean }[], received: Set<string>) {
    this.seen = seen;
    this.received = received;
  }

  send({ packetId, qos, duplicate }: Parameters<Outlet['send']>[0], { payload }: Message): boolean {
    const text = payload.toString();
    assert(!this.received.has(text), `${text} was sent again after its PUBREC`);
    assert(!this.unanswered.some((one) => one.packetId === packetId), `identifier ${packetId} is in use`);
    this.seen.push({ text, duplicate });
    this.#texts.set(packetId, text);
    this.unanswered.push({ packetId, step: qos === 1 ? 'puback' : 'pubrec' });
    assert(this.unanswered.length <= limits.inFlightMax);
    return true;
  }

  release(packetId: number): void {
    this.unanswered.push({ packetId, step: 'pubcomp' });
  }

  later(): void {
    this.rests++;
  }

  answer(queue: DeliveryQueue, index: number): void {
    const [one] = this.unanswered.splice(index % this.unanswered.length, 1);
    if (one?.step === 'puback') queue.acknowledged(one.packetId);
    if (one?.step === 'pubcomp') queue.completed(one.packetId);
    if (one?.step === 'pubrec') {
      this.received.add(this.#texts.get(one.packetId) ?? '');
      queue.received(one.packetId);
    }
  }
}

type Step =
  | { readonly kind: 'enqueue'; readonly count: number; readonly qos: 1 | 2; readonly targets: number }
  | { readonly kind: 'answer'; readonly index: number }
  | { readonly kind: 'restart'; readonly isCrash: boolean }
  | { readonly kind: 'attach' | 'detach' | 'stall' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('enqueue' as const),
    count: fc.constantFrom(1, 3, 200),
    qos: fc.constantFrom(1 as const, 2 as const),
    targets: fc.constantFrom(1, 2),
  }),
  fc.record({ kind: fc.constant('answer' as const), index: fc.nat(7) }),
  fc.record({
    kind: fc.constantFrom('attach' as const, 'detach' as const, 'stall' as const),
  }),
  fc.record({ kind: fc.constant('restart' as const), isCrash: fc.boolean() }),
);

function drain(subscriber: Subscriber, queue: DeliveryQueue): void {
  while (subscriber.unanswered.length > 0) subscriber.answer(queue, 0);
}

/** Runs a history against a real store, drains it, and checks what the client has seen. */
function run(steps: readonly Step[], kind: 'stored' | 'clean'): void {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-queue-'));
  const open = (): Store => new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
  let store = open();
  try {
    const session = store.createSession('ms-acc-1', 's', neverExpires);
    // A sibling shows what the sum is: it has room for as much as is missing from the bound, and for no more.
    const bounds = limitsType.parse({ memoryQueuedMessagesMax: 1 });
    const shares = new QueuedShares({ limits: bounds, onFull: () => assert.fail('nothing may be full') });
    const sibling = shares.of('ms-acc-1');
    const small = { messages: 1, bytes: 0 };
    const requireCounted = (count: number, bytes: number): void => {
      bounds.perIdentity = { ...bounds.perIdentity, queuedMessagesMax: count + 1, queuedBytesMax: bytes + 1 };
      assert(sibling.hasRoomFor(1, small) && !sibling.hasRoomFor(2, small));
      sibling.add(1, 0);
      assert(!sibling.hasRoomFor(0, small));
      sibling.add(-1, 0);
      bounds.perIdentity = { ...bounds.perIdentity, queuedMessagesMax: 1e9, queuedBytesMax: 1e9 };
    };
    const make = (size?: ExistingQueue): DeliveryQueue =>
      new DeliveryQueue(
        {
          stored: kind === 'stored' ? { store, session } : undefined,
          share: kind === 'stored' ? shares.of('ms-acc-1') : undefined,
          limits,
          clock: () => 0,
          mayReceive: () => true,
          onDropped: () => assert.fail('nothing may be dropped'),
          onFull: () => undefined,
        },
        size,
      );
    let queue = make();
    let subscriber: Subscriber | undefined;
    const seen: { text: string; duplicate: boolean }[] = [];
    const received = new Set<string>();
    const attach = (): void => {
      if (subscriber !== undefined) return;
      subscriber = new Subscriber(seen, received);
      queue.attach(subscriber);
    };
    const detach = (): void => {
      if (subscriber !== undefined) queue.detach();
      subscriber = undefined;
    };
    const shared: number[] = [];
    let enqueued = 0;
    for (const one of steps) {
      if (one.kind === 'enqueue') {
        for (let index = 0; index < one.count; index++) {
          const payload = Buffer.from(String(enqueued++));
          const content = { topic: 't', payload, properties: noBytes, expiresMs: undefined };
          const id = kind === 'stored' ? store.insertMessage(content, one.targets) : 0;
          if (one.targets > 1) shared.push(id);
          queue.enqueue({ id, storedTargets: one.targets, ...content }, one.qos, terms);
          queue.pump();
        }
      } else if (one.kind === 'answer') {
        if ((subscriber?.unanswered.length ?? 0) > 0) subscriber?.answer(queue, one.index);
      } else if (one.kind === 'attach') attach();
      else if (one.kind === 'stall' && subscriber !== undefined) {
        subscriber.isReady = !subscriber.isReady;
        queue.pump();
      } else if (one.kind === 'detach' && kind === 'stored') detach();
      else if (one.kind === 'restart' && kind === 'stored') {
        const { lastSent } = queue;
        subscriber = undefined;
        queue.end(); // with the process
        requireCounted(0, 0);
        store.close();
        store = open();
        const [size] = store.queueSizes();
        // After a clean stop it is known what was sent, after a crash it is not.
        queue = make(size && { ...size, lastSent: one.isCrash ? undefined : lastSent });
      }
      if (kind === 'stored') requireCounted(queue.messages, queue.bytes);
    }
    attach();
    if (subscriber !== undefined) subscriber.isReady = true;
    queue.pump();
    if (subscriber !== undefined) drain(subscriber, queue);
    assert.equal(queue.messages, 0);
    assert.equal(queue.bytes, 0);
    requireCounted(0, 0);
    queue.end();
    sibling.end({ messages: 0, bytes: 0 });
    if (kind === 'stored') assert.equal(shares.size, 0);
    const firsts = [...new Set(seen.map(({ text }) => Number(text)))];
    assert.deepEqual(
      firsts,
      Array.from({ length: enqueued }, (_, index) => index),
    );
    const before = new Set<string>();
    const isCrashed = steps.some((one) => one.kind === 'restart' && one.isCrash);
    for (const { text, duplicate } of seen) {
      assert(duplicate || !before.has(text), `${text} came again without DUP`); // [MQTT-3.3.1-1]
      assert(!duplicate || before.has(text) || isCrashed, `${text} came with DUP for the first time`);
      before.add(text);
    }
    // The other queue that each shared message is in lets go of it too: then nothing is left on disk.
    if (kind === 'stored') for (const id of shared) store.releaseMessage(id, 2);
    assert.deepEqual(store.queueSizes(), []);
    assert.equal(store.messageCount(), 0);
  } finally {
    store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

test('DeliveryQueue: over reconnects, stalls and restarts everything arrives in order, and nothing stays on disk', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => run(steps, 'stored')),
    { numRuns: 150 },
  );
});

test('DeliveryQueue: in memory everything arrives in order over stalls', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => run(steps, 'clean')),
    { numRuns: 150 },
  );
});

test('DeliveryQueue: beyond a bound of its identity it makes up for what it takes, and not for what others have', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-queue-'));
  const store = new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
  try {
    const alarms: string[] = [];
    const shares = new QueuedShares({
      limits: limitsType.parse({ memoryQueuedMessagesMax: 2, perIdentity: { queuedMessagesMax: 10 } }),
      onFull: ({ name, reason }, isFull) => alarms.push(`${name} ${reason} ${isFull}`),
    });
    const dropped: string[] = [];
    let whenFull: 'refuse' | 'drop-oldest' = 'drop-oldest';
    const queueOf = (clientId: string): DeliveryQueue =>
      new DeliveryQueue({
        stored: { store, session: store.createSession('ms-acc-1', clientId, neverExpires) },
        share: shares.of('ms-acc-1'),
        whenShareFull: () => whenFull,
        limits,
        clock: () => 0,
        mayReceive: () => true,
        onDropped: (reason) => dropped.push(`${clientId} ${reason}`),
        onFull: () => assert.fail('no queue is full by itself'),
      });
    const enqueue = (queue: DeliveryQueue, count: number): void => {
      for (let index = 0; index < count; index++) {
        const payload = Buffer.from(String(index));
        const content = { topic: 't', payload, properties: noBytes, expiresMs: undefined };
        queue.enqueue({ id: store.insertMessage(content, 1), storedTargets: 1, ...content }, 1, terms);
      }
    };
    const [one, two, three] = ['one', 'two', 'three'].map(queueOf);
    assert(one && two && three);
    // As after an update, or a reload: far more than may be.
    whenFull = 'refuse'; // publishers are asked before
    for (const queue of [one, two]) enqueue(queue, 20);
    assert.deepEqual(dropped, []);
    whenFull = 'drop-oldest';
    enqueue(one, 3);
    assert.deepEqual([one.messages, two.messages], [20, 20]);
    assert.deepEqual(dropped, Array(3).fill('one queued_per_identity_max'));
    assert.deepEqual(alarms, ['ms-acc-1 queued_per_identity_max true']);
    // What a clean session may have, it may have; and after that makes room as they do.
    enqueue(three, 4);
    assert.equal(three.messages, 2);
    assert.equal(dropped.length, 5);
    for (const queue of [one, two, three]) queue.end();
    assert.deepEqual(alarms.slice(1), ['ms-acc-1 queued_per_identity_max false']);
    assert.equal(shares.size, 0);
  } finally {
    store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

test('DeliveryQueue: what has expired in a queue whose client is away is let go, and only that', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-queue-'));
  const store = new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
  try {
    const session = store.createSession('ms-acc-1', 's', neverExpires);
    const dropped: string[] = [];
    const queue = new DeliveryQueue({
      stored: { store, session },
      limits,
      clock: () => 0,
      mayReceive: () => true,
      onDropped: (reason) => dropped.push(reason),
      onFull: () => undefined,
    });
    for (const expiresMs of [100, undefined, 50, 200]) {
      const content = { topic: 't', payload: Buffer.from('x'), properties: noBytes, expiresMs };
      const id = store.insertMessage(content, 2);
      queue.enqueue({ id, storedTargets: 2, ...content }, 1, terms);
    }
    queue.dropExpired(150, 10);
    assert.deepEqual(dropped, ['message_expired', 'message_expired']);
    assert.equal(queue.messages, 2);
    assert.equal(queue.bytes, store.queueSizes()[0]?.bytes);
    // The other queues that the messages are in still hold them.
    assert.equal(store.messageCount(), 4);
    const seen: { text: string; duplicate: boolean }[] = [];
    queue.attach(new Subscriber(seen, new Set()));
    assert.equal(seen.length, 2);
    queue.dropExpired(1000, 10);
    assert.equal(queue.messages, 2, 'what is in flight is the business of the connection');
  } finally {
    store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

test('DeliveryQueue: a slow client of a clean session gets the newest messages, one that reads nothing those from before', () => {
  const dropped: number[] = [];
  const queue = new DeliveryQueue({
    stored: undefined,
    limits: { ...limits, inFlightMax: 2, memoryQueuedMessagesMax: 6 },
    clock: () => 0,
    mayReceive: () => true,
    onDropped: (_reason, count) => dropped.push(count),
    onFull: () => undefined,
  });
  const seen: { text: string; duplicate: boolean }[] = [];
  const subscriber = new Subscriber(seen, new Set());
  queue.attach(subscriber);
  let enqueued = 0;
  const enqueue = (count: number, bytes = 1): void => {
    for (let index = 0; index < count; index++) {
      const payload = Buffer.from(String(enqueued++).padStart(bytes));
      queue.enqueue(
        { id: 0, storedTargets: 0, topic: 't', payload, properties: noBytes, expiresMs: undefined },
        1,
        terms,
      );
      queue.pump();
    }
  };
  const texts = (): string[] => seen.splice(0).map(({ text }) => text.trim());
  // Two are in flight, four wait, and of those the oldest gives way.
  enqueue(7);
  assert.deepEqual(texts(), ['0', '1']);
  subscriber.answer(queue, 0);
  assert.deepEqual(texts(), ['3']);
  // As many as it holds were replaced, and it has taken nothing: from now on it stays as it is.
  enqueue(100);
  assert.equal(queue.messages, 6);
  drain(subscriber, queue);
  assert.deepEqual(texts(), ['10', '11', '12', '13']);
  enqueue(2);
  drain(subscriber, queue);
  assert.deepEqual(texts(), ['107', '108']);
  assert.equal(dropped.at(-1), enqueued - 9);
  // What is in flight alone fills it: nothing waits then that could show that it moves again.
  const full = new DeliveryQueue({
    stored: undefined,
    limits: { ...limits, inFlightMax: 1, memoryQueuedBytesMax: 1000 },
    clock: () => 0,
    mayReceive: () => true,
    onDropped: () => undefined,
    onFull: () => undefined,
  });
  const client = new Subscriber(seen, new Set());
  full.attach(client);
  for (const bytes of [600, 10, 10, 800, 800]) {
    const content = { topic: 't', payload: Buffer.alloc(bytes), properties: noBytes, expiresMs: undefined };
    full.enqueue({ id: 0, storedTargets: 0, ...content }, 1, terms);
    full.pump();
  }
  assert.equal(full.messages, 1);
  drain(client, full);
  const content = { topic: 't', payload: Buffer.from('last'), properties: noBytes, expiresMs: undefined };
  full.enqueue({ id: 0, storedTargets: 0, ...content }, 1, terms);
  full.pump();
  assert.equal(seen.at(-1)?.text, 'last');
});

test('DeliveryQueue: a deep backlog goes in parts, whether it is sent or has expired, and in order', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'plombe-queue-'));
  const store = new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
  try {
    const dropped: string[] = [];
    const queue = new DeliveryQueue({
      stored: { store, session: store.createSession('ms-acc-1', 's', neverExpires) },
      limits: { ...limits, inFlightMax: 10 * turnDeliveries },
      clock: () => 1000,
      mayReceive: () => true,
      onDropped: (reason) => dropped.push(reason),
      onFull: () => undefined,
    });
    const expired = 3 * turnDeliveries;
    const count = 6 * turnDeliveries;
    for (let index = 0; index < count; index++) {
      const expiresMs = index < expired ? 1 : undefined;
      const content = { topic: 't', payload: Buffer.from(String(index)), properties: noBytes, expiresMs };
      const id = store.insertMessage(content, 1);
      queue.enqueue({ id, storedTargets: 1, ...content }, 1, terms);
    }
    const texts: string[] = [];
    const subscriber = {
      isReady: true,
      rests: 0,
      send: (_delivery: unknown, { payload }: Message) => texts.push(payload.toString()) > 0,
      release: () => assert.fail('nothing of QoS 2'),
      later: () => void subscriber.rests++,
    };
    queue.attach(subscriber);
    for (let part = 1; part <= count / turnDeliveries; part++) {
      assert.equal(dropped.length + texts.length, part * turnDeliveries);
      queue.pump(); // what others publish meanwhile does not shorten the rest
      assert.equal(dropped.length + texts.length, part * turnDeliveries);
      if (subscriber.rests === part) queue.resume();
    }
    assert.equal(dropped.length, expired);
    assert.deepEqual(
      texts,
      Array.from({ length: count - expired }, (_, index) => String(expired + index)),
    );
    queue.detach();
    const again = { ...subscriber, later: () => void again.rests++, rests: 0 };
    queue.attach(again);
    assert.equal(again.rests, 1, 'a rest ends with its connection');
  } finally {
    store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

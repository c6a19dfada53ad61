import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { setAsideMax } from '../../../broker/cascade/set-aside.ts';
import { UpStore } from '../../../broker/cascade/up-store.ts';
import { Bench, bounds, Upstream } from './up-bench.ts';

test('UpQueue: whatever is lost, acknowledged, restarted, set aside and put back, each topic arrives whole, and nothing is left', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('publish' as const), topic: fc.nat(3) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('acknowledge' as const), pick: fc.nat(50) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('reconnect' as const),
        window: fc.integer({ min: 1, max: 6 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('full' as const), pick: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('refuse' as const), pick: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('retry' as const) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const bench = new Bench();
      try {
        let upstream = new Upstream();
        const published = new Map<number, number>();
        const arrived = new Map<string, number[]>();
        const open: { packetId: number; text: string }[] = [];
        let seen = 0;
        const look = (): void => {
          open.push(...upstream.sent.slice(seen));
          seen = upstream.sent.length;
        };
        const connect = (windowMax: number): void => {
          upstream = new Upstream();
          upstream.windowMax = windowMax;
          seen = 0;
          open.length = 0;
          bench.queue.attach(upstream, true);
        };
        const retry = (): void => {
          const ids = bench.queue.setAside.all().map(({ id }) => id);
          for (const outcome of bench.queue.retry(ids, () => true)) assert.equal(outcome, 'queued');
        };
        const acknowledge = (pick: number): void => {
          const [one] = open.splice(pick % Math.max(1, open.length), 1);
          if (one === undefined) return;
          const [topic = '', value] = one.text.split('=');
          arrived.set(topic, [...(arrived.get(topic) ?? []), Number(value)]);
          bench.queue.acknowledged(one.packetId);
        };
        connect(4);
        for (const one of steps) {
          look();
          if (one.kind === 'publish') {
            const next = published.get(one.topic) ?? 0;
            published.set(one.topic, next + 1);
            bench.publish(`t${one.topic}`, String(next));
          } else if (one.kind === 'acknowledge') acknowledge(one.pick);
          else if (one.kind === 'reconnect') {
            bench.queue.detach();
            connect(one.window);
          } else if (one.kind === 'restart') {
            bench.restart();
            connect(4);
          } else if (one.kind === 'refuse') {
            const [refused] = open.splice(one.pick % Math.max(1, open.length), 1);
            if (refused !== undefined) bench.queue.refusedForGood(refused.packetId, '0x87');
          } else if (one.kind === 'retry') retry();
          else {
            const [refused] = open.splice(one.pick % Math.max(1, open.length), 1);
            if (refused !== undefined) bench.queue.refusedForNow(refused.packetId);
            bench.nowMs += 100_000;
            bench.queue.sweep();
          }
          assert(bench.queue.inFlight <= upstream.windowMax);
        }
        retry();
        for (let round = 0; bench.queue.messages > 0; round++) {
          assert(round < 1000, 'it never ends');
          bench.nowMs += 100_000;
          bench.queue.sweep();
          look();
          acknowledge(0);
        }
        for (const [topic, count] of published) {
          const values = new Set(arrived.get(`t${topic}`));
          assert.deepEqual(
            [...values].toSorted((a, b) => a - b),
            Array.from({ length: count }, (_, i) => i),
          );
        }
        assert.equal(bench.queue.bytes, 0);
        bench.store.commit();
        assert.equal(bench.store.messageCount(), 0);
      } finally {
        bench.remove();
      }
    }),
    { numRuns: 50 },
  );
});

test('UpQueue: a topic without a backlog goes ahead of days of another, which keeps its order', (context) => {
  const bench = new Bench(context);
  for (let index = 0; index < 3000; index++) bench.publish('backlog', String(index).padStart(100, ' '));
  bench.restart();
  const upstream = new Upstream();
  upstream.windowMax = 10;
  bench.queue.attach(upstream, false);
  bench.publish('live', 'now');
  for (const { packetId } of upstream.sent.slice(0, 10)) bench.queue.acknowledged(packetId);
  const at = upstream.texts.indexOf('live=now');
  assert(at > 0 && at <= 20, `sent as number ${at}`);
  const values = upstream.texts
    .filter((text) => text.startsWith('backlog='))
    .map((text) => Number(text.slice(8)));
  assert.deepEqual(values, Array.from(values.keys()));
});

test('UpQueue: several backlogs take turns by bytes, however large their messages are', (context) => {
  const bench = new Bench(context);
  for (let index = 0; index < 400; index++) bench.publish('small', Buffer.alloc(100));
  for (let index = 0; index < 40; index++) bench.publish('large', Buffer.alloc(1000));
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  const half = upstream.texts.slice(0, 220);
  const smallBytes = half.filter((text) => text.startsWith('small')).length * 100;
  const largeBytes = half.filter((text) => text.startsWith('large')).length * 1000;
  assert(Math.abs(smallBytes - largeBytes) <= 10_000, `${smallBytes} and ${largeBytes} bytes`);
});

test('UpQueue: topics that come again and again do not starve a backlog', (context) => {
  const bench = new Bench(context);
  for (let index = 0; index < 100; index++) bench.publish('backlog', Buffer.alloc(1000));
  const upstream = new Upstream();
  upstream.windowMax = 1;
  bench.queue.attach(upstream, false);
  for (let round = 0; round < 200; round++) {
    bench.publish(`live-${round % 5}`, Buffer.alloc(8000));
    bench.queue.acknowledged(upstream.sent.at(-1)?.packetId ?? 0);
  }
  const backlog = upstream.texts.filter((text) => text.startsWith('backlog')).length;
  assert(backlog >= 50, `${backlog} of the backlog were sent`);
});

test('UpQueue: one turn sends a bounded number of messages, and goes on in a later one', (context) => {
  const bench = new Bench(context);
  for (let index = 0; index < 600; index++) bench.publish('t', String(index));
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  assert.equal(upstream.sent.length, 256);
  assert.deepEqual(upstream.rests, [0]);
  bench.queue.acknowledged(upstream.idOf('t=0')); // nothing more in this turn
  assert.equal(upstream.sent.length, 256);
  bench.queue.resume();
  assert.equal(upstream.sent.length, 512);
});

test('UpQueue: the bandwidth cap makes it rest', (context) => {
  const bench = new Bench(context);
  const upstream = new Upstream();
  upstream.pauseMs = 70;
  bench.queue.attach(upstream, false);
  bench.publish('t', 'x');
  assert.deepEqual([upstream.sent.length, upstream.rests], [0, [70]]);
  upstream.pauseMs = 0;
  bench.queue.resume();
  assert.equal(upstream.sent.length, 1);
});

test('UpQueue: what is refused for good stands aside with its reason, over a restart too, and blocks nobody', (context) => {
  const bench = new Bench(context);
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  bench.publish('t', 'bad');
  bench.publish('t', 'good');
  bench.queue.refusedForGood(upstream.idOf('t=bad'), '0x87');
  bench.queue.acknowledged(upstream.idOf('t=good'));
  assert.deepEqual(bench.refused, ['t 0x87']);
  assert.deepEqual([bench.queue.messages, bench.queue.setAside.messages], [0, 1]);
  bench.restart();
  assert.equal(bench.queue.setAside.messages, 1);
  const [refused] = new UpStore(bench.store).refused(10);
  assert.partialDeepStrictEqual(refused, { topic: 't', reason: '0x87', refusedMs: 1_000_000 });
  assert.equal(bench.store.messageCount(), 1); // the payload is kept as well
});

test('UpQueue: of what was set aside the newest are kept', (context) => {
  const bench = new Bench(context);
  const upstream = new Upstream();
  upstream.giveUp = () => 'packet_too_large';
  bench.queue.attach(upstream, false);
  for (let index = 0; index < setAsideMax + 5; index++) {
    bench.publish('t', String(index));
    bench.queue.resume();
  }
  assert.equal(bench.queue.setAside.messages, setAsideMax);
  assert.equal(bench.queue.messages, 0);
  assert.equal(bench.store.messageCount(), setAsideMax);
  assert.equal(bench.forgotten.length, 5);
});

test('UpQueue: an upstream without room is asked later, one message of the topic at a time, and others go on', (context) => {
  const bench = new Bench(context);
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  for (const text of ['1', '2', '3']) bench.publish('full', text);
  for (const text of ['full=1', 'full=2', 'full=3']) bench.queue.refusedForNow(upstream.idOf(text));
  bench.publish('other', 'x');
  assert.deepEqual(upstream.texts.slice(3), ['other=x']);
  bench.nowMs += 999;
  bench.queue.sweep();
  assert.equal(upstream.sent.length, 4);
  bench.nowMs += 1;
  bench.queue.sweep();
  assert.deepEqual(upstream.texts.slice(4), ['full=1']);
  bench.queue.refusedForNow(upstream.idOf('full=1'));
  bench.nowMs += 1999; // twice as long
  bench.queue.sweep();
  assert.equal(upstream.sent.length, 5);
  bench.nowMs += 1;
  bench.queue.sweep();
  bench.queue.acknowledged(upstream.idOf('full=1'));
  assert.deepEqual(upstream.texts.slice(5), ['full=1', 'full=2', 'full=3']);
});

test('UpQueue: a clock that is set back by a year delays what waits for room by no more than a minute', (context) => {
  const bench = new Bench(context);
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  bench.publish('full', '1');
  bench.queue.refusedForNow(upstream.idOf('full=1'));
  bench.nowMs -= 365 * 86_400_000;
  bench.queue.sweep();
  bench.nowMs += 60_000;
  bench.queue.sweep();
  assert.deepEqual(upstream.texts, ['full=1', 'full=1']);
});

test('UpQueue: a full queue drops the oldest that is not on its way', (context) => {
  const bench = new Bench(context);
  bench.bounds = { ...bounds, messagesMax: 3, whenFull: 'drop-oldest' };
  const upstream = new Upstream();
  upstream.windowMax = 1;
  bench.queue.attach(upstream, false);
  for (const text of ['1', '2', '3', '4', '5']) bench.publish(`t${text}`, text);
  assert.deepEqual(bench.dropped, ['t2 queue_full', 't3 queue_full']);
  upstream.windowMax = 10;
  bench.queue.acknowledged(upstream.idOf('t1=1'));
  assert.deepEqual(upstream.texts, ['t1=1', 't4=4', 't5=5']);
});

test('UpQueue: what has waited too long, or has expired, is not sent', (context) => {
  const bench = new Bench(context);
  bench.bounds = { ...bounds, ageMsMax: 10_000 };
  bench.publish('old', '1');
  bench.nowMs += 8_000;
  bench.publish('short', '2', { expiresMs: bench.nowMs + 1000 });
  bench.publish('new', '3');
  assert.equal(bench.queue.oldestWaitingMs(), 8_000);
  bench.nowMs += 3_000;
  bench.queue.sweep();
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  assert.deepEqual(upstream.texts, ['new=3']);
  assert.deepEqual(bench.dropped.toSorted(), ['old cascade_too_old', 'short message_expired']);
});

test('UpQueue: only an upstream that may have seen a message gets it as a duplicate', (context) => {
  const bench = new Bench(context);
  const first = new Upstream();
  bench.queue.attach(first, false);
  bench.publish('t', '1');
  for (const isKnown of [true, false]) {
    bench.queue.detach();
    const next = new Upstream();
    bench.queue.attach(next, isKnown);
    assert.equal(next.sent[0]?.duplicate, isKnown);
  }
});

test('UpQueue: that it is full is an alarm, until a tenth of it is free again', (context) => {
  const bench = new Bench(context);
  bench.bounds = { ...bounds, messagesMax: 10, whenFull: 'refuse' };
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  for (let index = 0; index < 10; index++) bench.publish('t', String(index));
  assert(bench.queue.isFullFor(1));
  bench.queue.raiseFull();
  bench.queue.raiseFull();
  assert.deepEqual(bench.fullness, [true]);
  bench.queue.acknowledged(upstream.idOf('t=0'));
  assert.deepEqual(bench.fullness, [true, false]);
});

test('UpQueue: of which topics a quota dropped what is retained is known, over a restart too, until something newer goes', (context) => {
  const bench = new Bench(context);
  bench.bounds = { ...bounds, messagesMax: 2, whenFull: 'drop-oldest' };
  for (const topic of ['a', 'b', 'c', 'd']) bench.publish(topic, '1', { retain: topic !== 'b' });
  assert.deepEqual(bench.dropped, ['a queue_full', 'b queue_full']);
  bench.bounds = bounds;
  assert.deepEqual(bench.queue.owedNow(), []); // there is nobody to take it
  bench.restart();
  bench.queue.attach(new Upstream(), false);
  assert.deepEqual(bench.queue.owedNow(), ['a']);
  bench.publish('a', '2', { retain: true });
  assert.deepEqual(bench.queue.owedNow(), []);
  bench.restart();
  bench.queue.attach(new Upstream(), false);
  assert.deepEqual(bench.queue.owedNow(), []);
});

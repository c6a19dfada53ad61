import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import * as fc from 'fast-check';
import { Bench, bounds, Upstream } from './up-bench.ts';

const isRetained = (): boolean => true;

/** What was set aside, oldest first. */
function idsOf(bench: Bench): number[] {
  return bench.queue.setAside
    .all()
    .map(({ id }) => id)
    .toReversed();
}

/** Numbers of one topic, of which the upstream has refused some, and nothing more was acknowledged. */
function refuse(bench: Bench, count: number, refused: readonly number[]): Upstream {
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  for (let index = 0; index < count; index++) bench.publish('t', String(index));
  for (const index of refused) bench.queue.refusedForGood(upstream.idOf(`t=${index}`), '0x87');
  return upstream;
}

test('UpQueue.retry: it goes before what came after it and still waits, however much that is', (context) => {
  const bench = new Bench(context);
  const upstream = refuse(bench, 3, [1]);
  for (const text of ['t=0', 't=2']) bench.queue.acknowledged(upstream.idOf(text));
  bench.queue.detach();
  for (let index = 3; index < 100; index++) bench.publish('t', String(index));
  assert.deepEqual(bench.queue.retry(idsOf(bench), isRetained), ['queued']);
  assert.deepEqual([bench.queue.messages, bench.queue.setAside.messages], [98, 0]);
  const next = new Upstream();
  bench.queue.attach(next, false);
  const wanted = [1, ...Array.from({ length: 97 }, (_, index) => index + 3)];
  assert.deepEqual(
    next.texts,
    wanted.map((index) => `t=${index}`),
  );
});

test('UpQueue.retry: whatever was set aside, put back and restarted in between, what waits goes up in order, each once', () => {
  const flags = fc.array(fc.constantFrom('taken', 'refused', 'open'), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(flags, fc.nat(20), fc.boolean(), fc.boolean(), (fates, later, isEarly, isLate) => {
      const bench = new Bench();
      try {
        const upstream = new Upstream();
        bench.queue.attach(upstream, false);
        for (const index of fates.keys()) bench.publish('t', String(index));
        for (const [index, fate] of fates.entries()) {
          const packetId = upstream.idOf(`t=${index}`);
          if (fate === 'refused') bench.queue.refusedForGood(packetId, '0x87');
          else if (fate === 'taken') bench.queue.acknowledged(packetId);
        }
        if (isEarly) bench.restart();
        else bench.queue.detach();
        for (let index = 0; index < later; index++) bench.publish('t', String(fates.length + index));
        const ids = idsOf(bench);
        assert.deepEqual(
          bench.queue.retry(ids, isRetained),
          ids.map(() => 'queued'),
        );
        if (isLate) bench.restart();
        const next = new Upstream();
        bench.queue.attach(next, false);
        const sent = next.texts.map((text) => Number(text.slice(2)));
        const all = Array.from({ length: fates.length + later }, (_, index) => index);
        const wanted = all.filter((index) => fates[index] !== 'taken');
        assert.deepEqual(
          sent.toSorted((a, b) => a - b),
          wanted,
        );
        // What was on its way when it was put back had gone before it.
        if (isEarly || isLate || !fates.includes('open')) assert.deepEqual(sent, wanted);
        for (const { packetId } of next.sent) bench.queue.acknowledged(packetId);
        assert.deepEqual([bench.queue.messages, bench.queue.bytes], [0, 0]);
        assert.equal(bench.store.messageCount(), 0);
      } finally {
        bench.remove();
      }
    }),
    { numRuns: 60 },
  );
});

test('UpQueue.retry: the place of what is set aside is nobody else’s, over a restart too', (context) => {
  const bench = new Bench(context);
  refuse(bench, 1, [0]);
  bench.restart();
  bench.publish('t', '1');
  bench.queue.retry(idsOf(bench), isRetained);
  const next = new Upstream();
  bench.queue.attach(next, false);
  assert.deepEqual(next.texts, ['t=0', 't=1']);
});

test('UpQueue.retry: what was retained is so again only while nothing newer is', (context) => {
  const bench = new Bench(context);
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  for (const topic of ['old', 'new']) {
    bench.publish(topic, '1', { retain: true });
    bench.queue.refusedForGood(upstream.idOf(`${topic}=1`), '0x87');
  }
  bench.queue.retry(idsOf(bench), ({ topic }) => topic === 'new');
  assert.deepEqual(
    upstream.sent.slice(2).map(({ text, retain }) => [text, retain]),
    [
      ['old=1', false],
      ['new=1', true],
    ],
  );
});

test('UpQueue.retry: what has expired, is too old, does not fit or is not there stays as it is', (context: TestContext) => {
  const bench = new Bench(context);
  const upstream = new Upstream();
  bench.queue.attach(upstream, false);
  bench.publish('short', '1', { expiresMs: bench.nowMs + 1000 });
  bench.publish('t', '1');
  for (const text of ['short=1', 't=1']) bench.queue.refusedForGood(upstream.idOf(text), '0x87');
  bench.nowMs += 5000;
  const [short = 0, other = 0] = idsOf(bench);
  assert.deepEqual(bench.queue.retry([short, 99], isRetained), ['expired', 'unknown']);
  bench.bounds = { ...bounds, ageMsMax: 4000 };
  assert.deepEqual(bench.queue.retry([other], isRetained), ['too_old']);
  bench.bounds = { ...bounds, messagesMax: 0 };
  assert.deepEqual(bench.queue.retry([other], isRetained), ['queue_full']);
  assert.deepEqual([bench.queue.messages, bench.queue.setAside.messages], [0, 2]);
});

test('SetAside: what is dropped is gone with its payload, and its number is never used again', (context) => {
  const bench = new Bench(context);
  refuse(bench, 1, [0]);
  const [kept] = bench.queue.setAside.all();
  assert.partialDeepStrictEqual(kept, { id: 1, topic: 't', reason: '0x87', queuedMs: 1_000_000 });
  if (kept !== undefined) bench.queue.setAside.drop(kept);
  assert.deepEqual([bench.queue.setAside.messages, bench.store.messageCount()], [0, 0]);
  bench.restart();
  refuse(bench, 1, [0]);
  assert.deepEqual(idsOf(bench), [2]);
});

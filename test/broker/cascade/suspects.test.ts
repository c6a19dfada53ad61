import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bench, bounds, Upstream } from './up-bench.ts';

/** Answers what was sent until it comes to a message that it hangs up on. @returns whether it did */
function answerUntil(bench: Bench, upstream: Upstream, hangsUpOn: (text: string) => boolean): boolean {
  for (let index = 0; index < upstream.sent.length; index++) {
    const { text, packetId } = upstream.sent[index] ?? { text: '', packetId: 0 };
    if (hangsUpOn(text)) {
      bench.queue.detach('hung_up_on_message');
      return true;
    }
    bench.queue.acknowledged(packetId);
  }
  return false;
}

test('UpQueue: a message that the upstream hangs up on, alone and again and again, is set aside, and no other is', (context) => {
  const bench = new Bench(context);
  const published = new Map([0, 1, 2].map((topic) => [`t${topic}`, [] as string[]]));
  const arrived = new Map([0, 1, 2].map((topic) => [`t${topic}`, [] as string[]]));
  const publish = (topic: string): void => {
    const numbers = published.get(topic) ?? [];
    bench.publish(topic, String(numbers.length));
    numbers.push(String(numbers.length));
  };
  for (let index = 0; index < 20; index++) publish(`t${index % 3}`);
  const hungUpAtMs: number[] = [];
  for (let round = 0; bench.queue.messages > 0; round++) {
    assert(round < 100, 'it never ends');
    if (bench.refused.length === 0) publish('t2');
    const upstream = new Upstream();
    bench.queue.attach(upstream, true);
    const isHangUp = answerUntil(bench, upstream, (text) => {
      if (text === 't1=3') return true;
      const [topic = '', number = ''] = text.split('=');
      if (arrived.get(topic)?.includes(number) === false) arrived.get(topic)?.push(number);
      return false;
    });
    if (isHangUp && bench.queue.isCautious) hungUpAtMs.push(bench.nowMs);
    if (!isHangUp) bench.queue.detach();
    bench.nowMs += 10_000;
  }
  assert.deepEqual(bench.refused, ['t1 upstream_hung_up']);
  const tookMs = (hungUpAtMs.at(-1) ?? 0) - (hungUpAtMs[0] ?? 0);
  assert(hungUpAtMs.length >= bounds.hangUpsMax && tookMs >= 60_000, hungUpAtMs.join());
  published.get('t1')?.splice(3, 1);
  assert.deepEqual(arrived, published);
  assert.equal(bench.queue.isCautious, false);
  assert.partialDeepStrictEqual(bench.queue.setAside.newest(), [{ topic: 't1', reason: 'upstream_hung_up' }]);
});

test('UpQueue: an upstream that hangs up on everything takes nothing away, however long it does', (context) => {
  const bench = new Bench(context);
  for (const topic of ['a', 'b', 'c']) bench.publish(topic, '1');
  for (let round = 0; round < 100; round++) {
    bench.queue.attach(new Upstream(), true);
    bench.queue.detach('hung_up_on_message');
    bench.nowMs += 10_000;
  }
  assert.deepEqual([bench.refused, bench.queue.messages], [[], 3]);
});

test('UpQueue: an upstream that hangs up for another reason costs no message, however often, and then all go at once again', (context) => {
  const bench = new Bench(context);
  for (const text of ['1', '2', '3', '4']) bench.publish('t', text);
  for (let round = 0; round < 100; round++) {
    const upstream = new Upstream();
    bench.queue.attach(upstream, true);
    // It takes one message each time at most, or none before it goes.
    if (round % 5 === 4 && bench.queue.messages > 2)
      bench.queue.acknowledged(upstream.sent[0]?.packetId ?? 0);
    bench.queue.detach(round % 5 === 4 ? 'hung_up_on_message' : undefined);
    bench.nowMs += 10_000;
  }
  assert.deepEqual(bench.refused, []);
  const upstream = new Upstream();
  bench.queue.attach(upstream, true);
  answerUntil(bench, upstream, () => false);
  assert.deepEqual([bench.queue.messages, bench.queue.isCautious], [0, false]);
});

test('UpQueue: an upstream that is gone, or hangs up before it was sent anything, is suspected of nothing', (context) => {
  const bench = new Bench(context);
  bench.publish('t', '1');
  bench.publish('t', '2');
  for (let round = 0; round < 20; round++) {
    bench.queue.attach(new Upstream(), true);
    bench.queue.detach();
    bench.queue.detach('hung_up_on_message'); // a connection that never stood
    bench.nowMs += 10_000;
  }
  assert.deepEqual([bench.queue.isCautious, bench.refused], [false, []]);
});

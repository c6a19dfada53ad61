import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import type { Sender } from '../../mqtt/outbound.ts';
import { PublishWindow, waitingMax } from '../../mqtt/publish-window.ts';

const message = {
  topic: 't',
  payload: Buffer.alloc(0),
  qos: 1,
  retain: false,
  properties: Buffer.alloc(0),
  expirySeconds: undefined,
} as const;

function senderInto(sent: (id: number, payload: Buffer, duplicate: boolean) => void, room = 100): Sender {
  return {
    receiveMaximum: room,
    sessionPresent: true,
    isReady: true,
    publish: (_topic, payload, _qos, _retain, duplicate, id) => {
      sent(id, payload, duplicate);
      return 1;
    },
  };
}

test('PublishWindow: whatever is lost and acknowledged, each connection sees what is open in the order of publishing', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.constantFrom('publish', 'acknowledge', 'reconnect')),
      (room, steps) => {
        const window = new PublishWindow(room, () => undefined);
        const open = new Map<number, number>();
        let published = 0;
        let connection: number[] = [];
        const connect = (): void => {
          connection = [];
          open.clear();
          window.connected(
            senderInto((id, payload) => {
              connection.push(Number(String(payload)));
              open.set(id, Number(String(payload)));
            }),
          );
        };
        connect();
        for (const step of steps) {
          if (step === 'publish') {
            void window.publish({ ...message, payload: Buffer.from(String(published++)) });
          } else if (step === 'acknowledge') {
            const [messageId] = open.keys();
            if (messageId === undefined) continue;
            open.delete(messageId);
            window.acknowledged(messageId, 0, undefined);
          } else {
            window.disconnected();
            connect();
          }
          assert.ok(open.size <= room);
          assert.deepEqual(
            connection,
            connection.toSorted((a, b) => a - b),
          );
        }
      },
    ),
  );
});

test('PublishWindow: a caller that never waits is told so', async () => {
  const window = new PublishWindow(1, () => undefined);
  const waiting = Array.from({ length: waitingMax }, () => window.publish(message));
  await assert.rejects(window.publish(message), { code: 'mqtt.backlog' });
  window.close();
  const results = await Promise.allSettled(waiting);
  assert.ok(results.every((result) => result.status === 'rejected'));
});

test('PublishWindow: what the broker refuses is offered again, before what waits', () => {
  const refused: (number | undefined)[] = [];
  const window = new PublishWindow(1, (_topic, code) => refused.push(code));
  const sent: [number, string][] = [];
  window.connected(senderInto((id, payload) => sent.push([id, String(payload)])));
  void window.publish({ ...message, payload: Buffer.from('one') });
  void window.publish({ ...message, payload: Buffer.from('two') });
  window.acknowledged(1, 0x97, undefined);
  assert.deepEqual(refused, [0x97]);
  assert.deepEqual(sent, [[1, 'one']]); // it still counts as one in flight
  window.retry();
  window.acknowledged(2, 0, undefined);
  assert.deepEqual(sent, [
    [1, 'one'],
    [2, 'one'],
    [3, 'two'],
  ]);
});

test('PublishWindow: a broker with a smaller Receive Maximum gets no more than that again', () => {
  const window = new PublishWindow(10, () => undefined);
  window.connected(senderInto(() => undefined));
  for (const text of ['one', 'two', 'three']) void window.publish({ ...message, payload: Buffer.from(text) });
  window.disconnected();
  const sent: [number, string, boolean][] = [];
  window.connected(senderInto((id, payload, duplicate) => sent.push([id, String(payload), duplicate]), 2));
  assert.deepEqual(sent, [
    [1, 'one', true],
    [2, 'two', true],
  ]);
  window.acknowledged(1, 0, undefined);
  assert.equal(sent[2]?.[1], 'three');
});

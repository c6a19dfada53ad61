import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { PublishWindow, waitingMax } from '../../mqtt/publish-window.ts';

test('PublishWindow: whatever is lost and acknowledged, each connection sees what is open in the order of publishing', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.constantFrom('publish', 'acknowledge', 'reconnect')),
      (room, steps) => {
        const window = new PublishWindow(room);
        const open = new Map<number, number>();
        let published = 0;
        let connection: number[] = [];
        const connect = (): void => {
          connection = [];
          window.connected((publish, messageId) => {
            connection.push(Number(String(publish.payload)));
            open.set(messageId, Number(String(publish.payload)));
          });
        };
        connect();
        for (const step of steps) {
          if (step === 'publish') {
            void window.publish({
              topic: 't',
              payload: Buffer.from(String(published++)),
              qos: 1,
              retain: false,
            });
          } else if (step === 'acknowledge') {
            const [messageId] = open.keys();
            if (messageId === undefined) continue;
            open.delete(messageId);
            window.acknowledged(messageId);
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
  const window = new PublishWindow(1);
  const publish = { topic: 't', payload: Buffer.alloc(0), qos: 1, retain: false } as const;
  const waiting = Array.from({ length: waitingMax }, () => window.publish(publish));
  await assert.rejects(window.publish(publish), { code: 'mqtt.backlog' });
  window.close();
  const results = await Promise.allSettled(waiting);
  assert.ok(results.every((result) => result.status === 'rejected'));
});

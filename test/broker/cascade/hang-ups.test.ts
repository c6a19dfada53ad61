import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '../../../domain/clock.ts';
import type { RunningBroker } from '../../../broker/main.ts';
import { freePort } from '../../../runtime/free-ports.ts';
import { loadTlsIdentity } from '../../../pki/identity.ts';
import { ScriptedBroker } from '../../mqtt/scripted-broker.ts';
import type { Conversation } from '../../mqtt/scripted-broker.ts';
import type { Journal, Site } from '../fixture.ts';
import { openSite, Progress } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const other = 'ms-acc-1/acc-1/dev-2';

async function startCustomer(
  port: number,
  cascade: Readonly<Record<string, unknown>>,
  clock = systemClock,
): Promise<{ broker: RunningBroker; journal: Journal }> {
  return site.start(
    {
      identity: await site.identity('ms-acc-1', ['127.0.0.1']),
      data: path.join(site.directory, `customer-${port}`),
      cascade: { upstream: `127.0.0.1:${port}`, brokerName: 'vendor-broker', ...cascade },
    },
    { reconnect: { firstMs: 5, maxMs: 20 }, clock },
  );
}

/** Takes everything but one payload, over which it hangs up without a word. */
async function answer(conversation: Conversation, taken: string[], progress: Progress): Promise<void> {
  for (;;) {
    const packet = await conversation.any();
    if (packet === undefined) return;
    if (packet.cmd === 'subscribe') {
      const granted = packet.subscriptions.map(() => 1);
      conversation.send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted });
    } else if (packet.cmd === 'pingreq') conversation.send({ cmd: 'pingresp' });
    if (packet.cmd !== 'publish') continue;
    const text = packet.payload.toString();
    if (text === 'poison') return conversation.cut();
    if (packet.topic.endsWith('/snapshots') && !taken.includes(text)) taken.push(text);
    if (packet.qos === 1) conversation.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
    progress.add(1);
  }
}

test('cascade: a message that the upstream hangs up on for ever is set aside, and all others arrive, in order', async (context) => {
  const identity = loadTlsIdentity(await site.identity('vendor-broker', ['127.0.0.1']));
  const upstream = await ScriptedBroker.start(identity);
  context.after(() => upstream.stop());
  const taken: string[] = [];
  const progress = new Progress();
  const serve = async (): Promise<void> => {
    for (;;) await answer(await upstream.welcome(), taken, progress);
  };
  void serve();
  // A minute in 60 ms.
  const startMs = systemClock();
  const clock = (): number => startMs + (systemClock() - startMs) * 1000;
  const { broker, journal } = await startCustomer(
    upstream.endpoint.port,
    { queue: { hangUpsMax: 3 } },
    clock,
  );
  const dev = await site.connect(broker, device);
  const neighbour = await site.connect(broker, other);
  for (const text of ['1', '2', 'poison', '3'])
    await dev.publishAsync(`${device}/snapshots`, text, { qos: 1 });
  let count = 0;
  // What else goes up is the proof that the upstream takes something.
  while (journal.find('cascade.message_set_aside') === undefined) {
    await neighbour.publishAsync(`${other}/snapshots`, `n${count++}`, { qos: 1 });
    await progress.until(progress.value + 1);
  }
  await journal.until('cascade.message_set_aside', {
    topic: `${device}/snapshots`,
    reason: 'upstream_hung_up',
  });
  while (taken.length < count + 3) await progress.until(progress.value + 1);
  assert.deepEqual(
    taken.filter((text) => !text.startsWith('n')),
    ['1', '2', '3'],
  );
  assert.deepEqual(
    taken.filter((text) => text.startsWith('n')),
    Array.from({ length: count }, (_, index) => `n${index}`),
  );
  const { cascade } = broker.state();
  assert.equal(cascade?.refused, 1);
  assert.partialDeepStrictEqual(cascade.newestRefused, [{ topic: `${device}/snapshots` }]);
});

test('cascade: what is retained and did not go up, for a quota or at QoS 0, follows once there is room', async () => {
  const port = await freePort();
  const { broker, journal } = await startCustomer(port, {
    queue: { messagesMax: 2, whenFull: 'drop-oldest' },
  });
  const devices = [1, 2, 3, 4, 5].map((index) => `ms-acc-1/acc-1/dev-${index}`);
  for (const [index, name] of devices.entries()) {
    const dev = await site.connect(broker, name);
    await dev.publishAsync(`${name}/status`, name, { qos: index === 4 ? 0 : 1, retain: true });
    if (index !== 4) continue;
    await dev.publishAsync(`${name}/x`, 'after it', { qos: 1 });
  }
  await journal.until('queue.full', { identity: '$cascade' });
  const asked = await site.start({ data: path.join(site.directory, 'vendor'), listen: `127.0.0.1:${port}` });
  await journal.until('queue.relieved', { identity: '$cascade' });
  const watcher = await site.connect(asked.broker, 'MRO-Admin');
  await watcher.subscribeAsync('ms-acc-1/acc-1/+/status', { qos: 1 });
  const received = site.received(watcher);
  const seen = (): string[] => [...new Set(received.texts)].toSorted();
  while (seen().length < devices.length) await received.count(received.texts.length + 1);
  assert.deepEqual(
    seen(),
    devices.map((name) => `${name}/status=${name}`),
  );
});

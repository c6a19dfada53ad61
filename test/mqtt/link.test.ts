import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { TestContext } from 'node:test';
import { openLink } from '../../mqtt/link.ts';
import type { Link, LinkOptions } from '../../mqtt/link.ts';
import { createLog } from '../../runtime/log.ts';
import { makeIdentities, ScriptedBroker } from './scripted-broker.ts';

const identities = await makeIdentities();
after(() => identities.remove());

interface Scene {
  readonly broker: ScriptedBroker;
  readonly link: Link;
  readonly events: Record<string, unknown>[];
}

async function scene(context: TestContext, options: Partial<LinkOptions> = {}): Promise<Scene> {
  const broker = await ScriptedBroker.start(identities.broker);
  const events: Record<string, unknown>[] = [];
  const link = openLink({
    broker: broker.endpoint,
    brokerName: 'vendor-broker',
    identity: identities.device,
    clientId: 'agent',
    cleanSession: false,
    reconnect: { firstMs: 10, maxMs: 20 },
    log: createLog('test', 'debug', {
      write: (line) => events.push(JSON.parse(line) as Record<string, unknown>),
    }),
    ...options,
  });
  context.after(async () => {
    await link.close();
    await broker.stop();
  });
  return { broker, link, events };
}

test('publish: resolves when the PUBACK has come, and not before', async (context) => {
  const { broker, link } = await scene(context);
  let done = false;
  const published = link.publish('a/b', 'payload', { qos: 1, retain: true }).then(() => (done = true));
  const conversation = await broker.welcome();
  const packet = await conversation.next('publish');
  assert.deepEqual(
    [packet.topic, String(packet.payload), packet.qos, packet.retain, packet.dup],
    ['a/b', 'payload', 1, true, false],
  );
  assert.equal(done, false);
  conversation.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
  await published;
});

test('publish: what is unacknowledged goes again after a reconnect, in order, marked as a duplicate', async (context) => {
  const { broker, link } = await scene(context);
  const all = ['one', 'two', 'three'].map((payload) => link.publish('t', payload, { qos: 1 }));
  const first = await broker.welcome();
  const sent = [await first.next('publish'), await first.next('publish'), await first.next('publish')];
  first.send({ cmd: 'puback', messageId: sent[1]?.messageId ?? 0 });
  await all[1];
  first.cut();
  const second = await broker.welcome(true);
  const again = [await second.next('publish'), await second.next('publish')];
  assert.deepEqual(
    again.map((packet) => [String(packet.payload), packet.dup]),
    [
      ['one', true],
      ['three', true],
    ],
  );
  for (const packet of again) second.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
  await Promise.all(all);
});

test('publish: no more than the window is on the wire', async (context) => {
  const { broker, link } = await scene(context, { inFlightMax: 2 });
  const all = ['one', 'two', 'three'].map((payload) => link.publish('t', payload, { qos: 1 }));
  const conversation = await broker.welcome();
  const one = await conversation.next('publish');
  await conversation.next('publish');
  assert.equal(link.unacknowledged, 3);
  // The broker's answer to a ping of its own making would come after a third publish, were there one.
  const subscribed = link.subscribe('x', 0);
  const subscribe = await conversation.next('subscribe');
  conversation.send({ cmd: 'suback', messageId: subscribe.messageId ?? 0, granted: [0] });
  await subscribed;
  assert.equal(conversation.waiting, 0);
  conversation.send({ cmd: 'puback', messageId: one.messageId ?? 0 });
  await all[0];
  assert.equal(String((await conversation.next('publish')).payload), 'three');
  await Promise.all([
    link.close(),
    assert.rejects(all[1] ?? Promise.resolve(), { code: 'mqtt.closed' }),
    assert.rejects(all[2] ?? Promise.resolve(), { code: 'mqtt.closed' }),
  ]);
});

test('onMessage: each message is acknowledged when the receiver says so, in any order', async (context) => {
  const acknowledgements: (() => void)[] = [];
  let wake: () => void = () => undefined;
  const { broker } = await scene(context, {
    subscriptions: [{ filter: 't', qos: 1 }],
    onMessage: (_message, acknowledge) => {
      acknowledgements.push(acknowledge);
      if (acknowledgements.length === 2) wake();
    },
  });
  const conversation = await broker.welcome();
  const subscribe = await conversation.next('subscribe');
  assert.deepEqual(subscribe.subscriptions[0]?.topic, 't');
  conversation.send({ cmd: 'suback', messageId: subscribe.messageId ?? 0, granted: [1] });
  const both = new Promise<void>((resolve) => (wake = resolve));
  for (const messageId of [7, 8]) {
    conversation.send({
      cmd: 'publish',
      topic: 't',
      payload: 'x',
      qos: 1,
      dup: false,
      retain: false,
      messageId,
    });
  }
  await both;
  assert.equal(conversation.waiting, 0);
  acknowledgements[1]?.();
  acknowledgements[0]?.();
  assert.equal((await conversation.next('puback')).messageId, 8);
  assert.equal((await conversation.next('puback')).messageId, 7);
});

test('onMessage: an acknowledgement of an earlier connection is not sent on a later one', async (context) => {
  const acknowledgements: (() => void)[] = [];
  let wake: () => void = () => undefined;
  const { broker } = await scene(context, {
    onMessage: (_message, acknowledge) => {
      acknowledgements.push(acknowledge);
      wake();
    },
  });
  const publish = {
    cmd: 'publish',
    topic: 't',
    payload: 'x',
    qos: 1,
    dup: false,
    retain: false,
    messageId: 7,
  } as const;
  const first = await broker.welcome();
  const one = new Promise<void>((resolve) => (wake = resolve));
  first.send(publish);
  await one;
  first.cut();
  const second = await broker.welcome(true);
  const two = new Promise<void>((resolve) => (wake = resolve));
  second.send({ ...publish, messageId: 9 });
  await two;
  acknowledgements[0]?.();
  acknowledgements[1]?.();
  assert.equal((await second.next('puback')).messageId, 9);
});

test('onMessage: a QoS 2 message is handed over once, however often it is sent before its PUBREL', async (context) => {
  let handed = 0;
  const { broker } = await scene(context, {
    onMessage: (_message, acknowledge) => {
      handed++;
      acknowledge();
    },
  });
  const conversation = await broker.welcome();
  const publish = {
    cmd: 'publish',
    topic: 't',
    payload: 'x',
    qos: 2,
    dup: false,
    retain: false,
    messageId: 5,
  } as const;
  conversation.send(publish);
  await conversation.next('pubrec');
  conversation.send({ ...publish, dup: true });
  await conversation.next('pubrec');
  conversation.send({ cmd: 'pubrel', messageId: 5 });
  await conversation.next('pubcomp');
  assert.equal(handed, 1);
});

test('subscribe: resolves with what the broker granted, and asks again on the next connection', async (context) => {
  const { broker, link } = await scene(context);
  const answers = [link.subscribe('mine/#', 1), link.subscribe('theirs/#', 1)];
  const first = await broker.welcome();
  for (const granted of [1, 0x80]) {
    const subscribe = await first.next('subscribe');
    first.send({ cmd: 'suback', messageId: subscribe.messageId ?? 0, granted: [granted] });
  }
  assert.deepEqual(await Promise.all(answers), [1, 'refused']);
  first.cut();
  const second = await broker.welcome();
  const again = await second.next('subscribe');
  assert.deepEqual(
    again.subscriptions.map((one) => one.topic),
    ['mine/#', 'theirs/#'],
  );
});

test('openLink: a broker of another name is refused, with its name in the log', async (context) => {
  const refused = Promise.withResolvers<Record<string, unknown>>();
  const { link } = await scene(context, {
    brokerName: 'ms-acc-1',
    log: createLog('test', 'debug', {
      write: (line) => refused.resolve(JSON.parse(line) as Record<string, unknown>),
    }),
  });
  const event = await refused.promise;
  assert.equal(event['event'], 'link.connect_failed');
  assert.match(String(event['reason']), /is "vendor-broker", not "ms-acc-1"/);
  assert.equal(link.connected, false);
});

for (const [name, bytes] of [
  ['a reserved packet type', Buffer.from([0xf0, 0x00])],
  ['PUBLISH before CONNACK', Buffer.from([0x30, 0x03, 0x00, 0x01, 0x61])],
  [
    'a packet without end',
    Buffer.concat([Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(300_000)]),
  ],
] as const) {
  test(`openLink: ${name} ends the connection, and the link tries again`, async (context) => {
    const { broker } = await scene(context);
    const conversation = await broker.accept();
    await conversation.next('connect');
    conversation.sendBytes(bytes);
    await conversation.closed();
    await broker.welcome();
  });
}

test('openLink: CONNACK with a refusal is logged with its code and tried again', async (context) => {
  const { broker, events } = await scene(context);
  const conversation = await broker.accept();
  await conversation.next('connect');
  conversation.send({ cmd: 'connack', reasonCode: 0x87, sessionPresent: false });
  await conversation.closed();
  await broker.welcome();
  assert.ok(
    events.some((event) => event['event'] === 'link.lost' && /return code 135/.test(String(event['reason']))),
  );
});

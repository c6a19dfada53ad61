import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { TestContext } from 'node:test';
import type { ReceivedMessage } from '../../mqtt/inbox.ts';
import { openLink } from '../../mqtt/link.ts';
import type { Connected, Link, LinkOptions } from '../../mqtt/link.ts';
import { freePort } from '../../runtime/free-ports.ts';
import { createLog } from '../../runtime/log.ts';
import { Conversation, makeIdentities, ScriptedBroker } from './scripted-broker.ts';
import { Wire } from './wire.ts';

const identities = await makeIdentities();
after(() => identities.remove());

interface Scene {
  readonly link: Link;
  readonly events: Record<string, unknown>[];
  /** The next line of the log with this event. */
  readonly event: (name: string) => Promise<Record<string, unknown>>;
}

function open(context: TestContext, options: Partial<LinkOptions> & Pick<LinkOptions, 'broker'>): Scene {
  const events: Record<string, unknown>[] = [];
  let wake: () => void = () => undefined;
  const link = openLink({
    brokerName: 'vendor-broker',
    identity: identities.device,
    clientId: 'agent',
    cleanSession: false,
    reconnect: { firstMs: 10, maxMs: 20 },
    log: createLog('test', 'debug', {
      write: (line) => {
        events.push(JSON.parse(line) as Record<string, unknown>);
        wake();
      },
    }),
    ...options,
  });
  context.after(() => link.close());
  let read = 0;
  const event = async (name: string): Promise<Record<string, unknown>> => {
    for (;;) {
      const line = events[read++];
      if (line?.['event'] === name) return line;
      if (line !== undefined) continue;
      read--;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return { link, events, event };
}

async function scripted(context: TestContext): Promise<ScriptedBroker> {
  const broker = await ScriptedBroker.start(identities.broker);
  context.after(() => broker.stop());
  return broker;
}

async function refuseVersion(conversation: Conversation): Promise<number | undefined> {
  const { protocolVersion } = await conversation.next('connect');
  conversation.sendBytes(Buffer.from([0x20, 2, 0, 1])); // CONNACK of 3.1.1: unacceptable protocol version
  return protocolVersion;
}

test('openLink: MQTT 5 at first, and 3.1.1 for a broker that does not know it', async (context) => {
  const broker = await scripted(context);
  const { link } = open(context, { broker: broker.endpoint });
  assert.equal(await refuseVersion(await broker.accept()), 5);
  const conversation = await broker.accept();
  assert.equal((await conversation.next('connect')).protocolVersion, 4);
  conversation.send({ cmd: 'connack', returnCode: 0, sessionPresent: false });
  const published = link.publish('t', 'x', { qos: 1 });
  const packet = await conversation.next('publish');
  assert.equal(packet.properties, undefined);
  conversation.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
  await published;
  conversation.cut();
  // It may be another one by then.
  assert.equal((await (await broker.accept()).next('connect')).protocolVersion, 5);
});

test('openLink: a broker that hangs up on MQTT 5 without a word is asked in 3.1.1', async (context) => {
  const broker = await scripted(context);
  open(context, { broker: broker.endpoint });
  const first = await broker.accept();
  assert.equal((await first.next('connect')).protocolVersion, 5);
  first.cut();
  assert.equal((await (await broker.accept()).next('connect')).protocolVersion, 4);
});

test('openLink: the session is kept for ever, and the largest packet is announced', async (context) => {
  const broker = await scripted(context);
  open(context, { broker: broker.endpoint });
  const { properties, clean } = await (await broker.accept()).next('connect');
  assert.equal(clean, false);
  assert.equal(properties?.sessionExpiryInterval, 0xffff_ffff);
  assert((properties?.maximumPacketSize ?? 0) > 0);
});

test('publish: Receive Maximum of the broker bounds what is on the wire', async (context) => {
  const broker = await scripted(context);
  const { link } = open(context, { broker: broker.endpoint });
  const all = ['one', 'two', 'three'].map((text) => link.publish('t', text, { qos: 1 }));
  const conversation = await broker.welcome(false, { receiveMaximum: 2 });
  const one = await conversation.next('publish');
  const two = await conversation.next('publish');
  const subscribed = link.subscribe('x', 0);
  const { messageId = 0 } = await conversation.next('subscribe');
  conversation.send({ cmd: 'suback', messageId, granted: [0] });
  await subscribed;
  assert.equal(conversation.waiting, 0);
  for (const packet of [one, two]) conversation.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
  const three = await conversation.next('publish');
  conversation.send({ cmd: 'puback', messageId: three.messageId ?? 0 });
  await Promise.all(all);
});

test('publish: what is larger than the broker takes is not sent, said so, and does not block the others', async (context) => {
  const broker = await scripted(context);
  const { link, event } = open(context, { broker: broker.endpoint });
  link.publish('large', 'x'.repeat(100), { qos: 1 }).catch(() => undefined);
  const small = link.publish('small', 'x', { qos: 1 });
  const conversation = await broker.welcome(false, { maximumPacketSize: 60 });
  const packet = await conversation.next('publish');
  assert.equal(packet.topic, 'small');
  conversation.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
  await small;
  assert.equal((await event('link.publish_refused'))['reasonCode'], 'packet_too_large');
});

test('onMessage: forwarded properties come as they stand in the packet, octet by octet, with what is left of the life', async (context) => {
  const broker = await scripted(context);
  const received = Promise.withResolvers<ReceivedMessage>();
  open(context, {
    broker: broker.endpoint,
    onMessage: (message, acknowledge) => {
      received.resolve(message);
      acknowledge();
    },
  });
  const conversation = await broker.welcome();
  // b=1, a=2, b=3: mqtt-packet's reader would lose this order; then an expiry of 258 s and a subscription identifier.
  const forwarded = Buffer.from('26000162000131260001610001322600016200013303000474657874', 'hex');
  const others = Buffer.from('02000001020b07', 'hex');
  const properties = Buffer.concat([forwarded, others]);
  const body = [Buffer.from([0, 1, 0x74, 0, 9, properties.length]), properties, Buffer.from('payload')];
  const rest = Buffer.concat(body);
  conversation.sendBytes(Buffer.concat([Buffer.from([0x33, rest.length]), rest]));
  const message = await received.promise;
  assert.deepEqual(message.properties, forwarded);
  assert.equal(message.expirySeconds, 258);
  assert.equal(String(message.payload), 'payload');
  assert.equal(message.retain, true);
  assert.equal((await conversation.next('puback')).messageId, 9);
});

test('openLink: why the broker disconnects stands in the log', async (context) => {
  const broker = await scripted(context);
  const { event } = open(context, { broker: broker.endpoint });
  const conversation = await broker.welcome();
  conversation.send({ cmd: 'disconnect', reasonCode: 0x8b, properties: { reasonString: 'maintenance' } });
  assert.match(String((await event('link.lost'))['reason']), /disconnected: 0x8b, maintenance/);
});

test('onMessage: in a new session of the broker an identifier means another message', async (context) => {
  const broker = await scripted(context);
  const payloads: string[] = [];
  open(context, {
    broker: broker.endpoint,
    onMessage: ({ payload }, acknowledge) => {
      payloads.push(String(payload));
      acknowledge();
    },
  });
  const publish = { cmd: 'publish', topic: 't', qos: 2, dup: false, retain: false, messageId: 5 } as const;
  const first = await broker.welcome();
  first.send({ ...publish, payload: 'one' });
  await first.next('pubrec');
  first.cut();
  const second = await broker.welcome(false);
  second.send({ ...publish, payload: 'two' });
  await second.next('pubrec');
  assert.deepEqual(payloads, ['one', 'two']);
});

test('openLink: a connection that swallows everything is noticed within its keep-alive, and what was on it goes again in order', async (context) => {
  const broker = await scripted(context);
  const wire = await Wire.to(broker.endpoint.port);
  const { link, event } = open(context, { broker: wire.endpoint, keepAliveSeconds: 1 });
  context.after(() => wire.stop());
  await broker.welcome();
  await event('link.connected');
  wire.fallSilent();
  const all = ['one', 'two', 'three'].map((text) => link.publish('t', text, { qos: 1 }));
  assert.equal((await event('link.lost'))['reason'], 'the broker stopped answering');
  const second = await broker.welcome(true);
  for (const text of ['one', 'two', 'three']) {
    const packet = await second.next('publish');
    assert.equal(String(packet.payload), text);
    assert.equal(packet.dup, true);
    second.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
  }
  await Promise.all(all);
});

test('openLink: a later connection resumes the TLS session, and the broker is still who it has to be', async (context) => {
  const broker = await scripted(context);
  const connected: Connected[] = [];
  open(context, { broker: broker.endpoint, onConnect: (one) => connected.push(one) });
  const first = await broker.welcome();
  // Tickets come after the handshake (RFC 8446 §4.6.1), so before whatever answers this.
  first.send({ cmd: 'publish', topic: 't', payload: 'x', qos: 1, dup: false, retain: false, messageId: 1 });
  await first.next('puback');
  first.cut();
  const second = await broker.welcome(true);
  second.send({ cmd: 'publish', topic: 't', payload: 'x', qos: 1, dup: false, retain: false, messageId: 1 });
  await second.next('puback');
  assert.deepEqual(
    connected.map(({ isResumed }) => isResumed),
    [false, true],
  );
});

test('openLink: the next broker takes over with what is in flight, and the preferred one gets it back when it is well', async (context) => {
  const preferred = await scripted(context);
  const other = await scripted(context);
  const port = await freePort(); // again, later
  const wire = await Wire.to(preferred.endpoint.port, port);
  const { link, event } = open(context, {
    broker: [wire.endpoint, other.endpoint],
    probe: { firstMs: 20, maxMs: 50 },
  });
  const first = await preferred.welcome();
  const published = link.publish('t', 'x', { qos: 1 });
  await first.next('publish');
  await wire.stop();
  const second = await other.welcome();
  const packet = await second.next('publish');
  assert.equal(packet.dup, false); // that one has never seen it
  second.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
  await published;
  assert((await event('link.connect_failed'))['broker'], `127.0.0.1:${port}`);
  const again = await Wire.to(preferred.endpoint.port, port);
  context.after(() => again.stop());
  await event('link.returning');
  await second.next('disconnect');
  for (;;) {
    const conversation = await preferred.accept();
    // Probes end before they say CONNECT.
    const isBack = await conversation.next('connect').then(
      () => true,
      () => false,
    );
    if (isBack) break;
  }
});

test('Link: says how much may come unacknowledged, and how long its session waits', async (context) => {
  const broker = await scripted(context);
  open(context, { broker: broker.endpoint, receiveMaximum: 77, sessionExpirySeconds: 30 });
  const { properties } = await (await broker.accept()).next('connect');
  assert.deepEqual([properties?.receiveMaximum, properties?.sessionExpiryInterval], [77, 30]);
});

test('Link: while it is held nothing is read, over a reconnect too, and what it publishes leaves', async (context) => {
  const broker = await scripted(context);
  const received: string[] = [];
  let taken = Promise.withResolvers<void>();
  const { link } = open(context, {
    broker: broker.endpoint,
    onMessage: ({ payload }, acknowledge) => {
      received.push(payload.toString());
      acknowledge();
      taken.resolve();
    },
  });
  const publish = (conversation: Conversation, payload: string): void =>
    conversation.send({ cmd: 'publish', topic: 'a', payload, qos: 0, dup: false, retain: false });
  (await broker.welcome()).cut();
  link.hold(true);
  const conversation = await broker.welcome();
  // Its acknowledgement is not read either.
  void link.publish('b', 'out', { qos: 1 }).catch(() => undefined);
  await conversation.next('publish');
  publish(conversation, 'one');
  void link.publish('b', 'out', { qos: 0 });
  await conversation.next('publish');
  assert.deepEqual(received, []);
  link.hold(false);
  await taken.promise;
  taken = Promise.withResolvers();
  publish(conversation, 'two');
  await taken.promise;
  assert.deepEqual(received, ['one', 'two']);
});

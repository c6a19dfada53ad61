import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { IPublishPacket, ISubscription } from 'mqtt-packet';
import type { RunningBroker } from '../../../broker/main.ts';
import type { Journal, RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
let journal: Journal;
let nowMs = Date.now();
before(async () => {
  site = openSite();
  ({ broker, journal } = await site.start({}, { clock: () => nowMs }));
});
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const snapshots = `${device}/snapshots`;

async function open(
  name: string,
  clientId: string,
  options: Parameters<RawClient['open']>[0] | object = {},
): Promise<RawClient> {
  const client = await site.rawConnect(broker, name, 5);
  const { reasonCode } = await client.open({ clientId, ...options });
  assert.equal(reasonCode, 0);
  return client;
}

async function subscribe(client: RawClient, topic: string, more: Partial<ISubscription> = {}): Promise<void> {
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 1, ...more }] });
  assert.deepEqual((await client.next('suback')).granted, [more.qos ?? 1]);
}

const publish = (fields: Partial<IPublishPacket>): IPublishPacket => ({
  cmd: 'publish',
  topic: snapshots,
  payload: 'x',
  qos: 1,
  dup: false,
  retain: false,
  messageId: 1,
  ...fields,
});

const described = {
  payloadFormatIndicator: true,
  contentType: 'application/cms',
  responseTopic: `${device}/commands/result`,
  correlationData: Buffer.from([0, 1, 255]),
  userProperties: { a: ['1', '3'], b: '2' },
};

test('properties: arrive as they were sent; live, queued over a restart and retained; and not at all with 3.1.1', async () => {
  const data = { data: path.join(site.directory, 'properties') };
  const first = await site.start(data);
  const session = { clean: false, properties: { sessionExpiryInterval: 1000 } };
  const connectTo = async (
    to: RunningBroker,
    name: string,
    version: 4 | 5,
    clientId: string,
  ): Promise<RawClient> => {
    const client = await site.rawConnect(to, name, version);
    await client.open({ clientId, ...(version === 5 ? session : { clean: false }) });
    return client;
  };
  const away = await connectTo(first.broker, 'ms-acc-1', 5, 'away');
  await subscribe(away, 'ms-acc-1/#');
  away.socket.destroy();
  const live = await connectTo(first.broker, 'ms-acc-1', 5, 'live');
  await subscribe(live, 'ms-acc-1/#');
  const old = await connectTo(first.broker, 'ms-acc-1', 4, 'old');
  await subscribe(old, 'ms-acc-1/#');
  const publisher = await connectTo(first.broker, device, 5, 'p');
  publisher.send(publish({ retain: true, properties: described }));
  assert.equal((await publisher.next('puback')).reasonCode ?? 0, 0);
  const check = ({ properties, payload }: IPublishPacket): void => {
    assert.equal(payload.toString(), 'x');
    assert.deepEqual({ ...properties, userProperties: { ...properties?.userProperties } }, described);
  };
  check(await live.next('publish'));
  const plain = await old.next('publish');
  assert.deepEqual([plain.topic, plain.payload.toString(), plain.properties], [snapshots, 'x', undefined]);
  await site.stop(first.broker);
  const second = await site.start(data);
  const again = await connectTo(second.broker, 'ms-acc-1', 5, 'away');
  check(await again.next('publish'));
  const late = await connectTo(second.broker, 'ms-acc-1', 5, 'late');
  await subscribe(late, 'ms-acc-1/#');
  check(await late.next('publish'));
});

test('properties: user properties keep their order, between others too [MQTT-3.3.2-18]', async () => {
  const subscriber = await open('ms-acc-1', 'order');
  await subscribe(subscriber, snapshots, { qos: 0 });
  const publisher = await open(device, 'p-order');
  const order = '26 0001 62 0001 31 03 0001 74 26 0001 61 0001 32 26 0001 62 0001 33';
  const topic = Buffer.from(snapshots);
  const body = Buffer.concat([
    Buffer.from([0, topic.length]),
    topic,
    Buffer.from([0]),
    Buffer.from(order.replaceAll(' ', ''), 'hex'),
    Buffer.from('payload'),
  ]);
  body[2 + topic.length] = body.length - 3 - topic.length - 7;
  publisher.socket.write(Buffer.concat([Buffer.from([0x30, body.length]), body]));
  await subscriber.next('publish');
  assert(subscriber.bytes.toString('hex').includes(order.replaceAll(' ', '')));
});

test('message expiry: less the time in the broker, and gone after it, from a queue and from what is retained', async () => {
  const session = { clean: false, properties: { sessionExpiryInterval: 1000 } };
  const away = await open('ms-acc-1', 'expiring', session);
  await subscribe(away, 'ms-acc-1/#');
  away.socket.destroy();
  await journal.until('connection.closed', { clientId: 'expiring' });
  const publisher = await open(device, 'p-expiring');
  for (const [index, seconds] of [10, 100].entries()) {
    publisher.send(
      publish({
        topic: `${device}/expiry/${seconds}`,
        retain: true,
        messageId: index + 1,
        properties: { messageExpiryInterval: seconds },
      }),
    );
    await publisher.next('puback');
  }
  nowMs += 30_000;
  const again = await open('ms-acc-1', 'expiring', session);
  const { topic, properties, messageId } = await again.next('publish');
  assert.deepEqual([topic, properties?.messageExpiryInterval], [`${device}/expiry/100`, 70]);
  again.send({ cmd: 'puback', messageId: messageId ?? 0, reasonCode: 0 });
  assert.deepEqual(await again.settled(), []);
  await subscribe(again, `${device}/expiry/+`);
  const retained = await again.next('publish');
  assert.deepEqual(
    [retained.topic, retained.retain, retained.properties?.messageExpiryInterval],
    [topic, true, 70],
  );
  assert.deepEqual(await again.settled(), []);
  assert(journal.find('message.dropped', { clientId: 'expiring', reason: 'message_expired' }));
  nowMs += 100_000;
});

test('topic alias: stands for a topic as long as the connection, and rights are those of the topic', async () => {
  const subscriber = await open('ms-acc-1', 'aliases');
  await subscribe(subscriber, 'ms-acc-1/#', { qos: 0 });
  const publisher = await open(device, 'p-alias');
  const send = (topic: string, topicAlias: number, payload: string): void =>
    publisher.send(publish({ topic, payload, properties: { topicAlias } }));
  send(`${device}/a`, 1, 'one');
  send('', 1, 'two');
  send(`${device}/b`, 1, 'three');
  send('', 1, 'four');
  for (const expected of [`${device}/a one`, `${device}/a two`, `${device}/b three`, `${device}/b four`]) {
    const { topic, payload } = await subscriber.next('publish');
    assert.equal(`${topic} ${payload.toString()}`, expected);
  }
  send('ms-acc-2/a', 2, 'forged');
  send('', 2, 'forged again');
  const codes = [];
  for (let answers = 0; answers < 6; answers++) codes.push((await publisher.next('puback')).reasonCode ?? 0);
  assert.deepEqual(codes, [0, 0, 0, 0, 0x87, 0x87]);
  publisher.socket.destroy();
  const again = await open(device, 'p-alias');
  again.send(publish({ topic: '', properties: { topicAlias: 1 } }));
  assert.equal((await again.next('disconnect')).reasonCode, 0x82);
  for (const topicAlias of [0, 65]) {
    const greedy = await open(device, 'p-greedy');
    greedy.sendHex(`30 09 0001 61 03 23 ${topicAlias.toString(16).padStart(4, '0')} 78 78`);
    assert.equal((await greedy.next('disconnect')).reasonCode, 0x94);
  }
});

test('topic alias: the broker uses no more than the client allows, and never without having said the topic', async () => {
  const subscriber = await open('ms-acc-1', 'takes-2', { properties: { topicAliasMaximum: 2 } });
  await subscribe(subscriber, 'ms-acc-1/#', { qos: 0 });
  const publisher = await open(device, 'p-2');
  const names = ['a', 'b', 'c', 'a', 'b', 'c'];
  for (const name of names) publisher.send(publish({ topic: `${device}/${name}`, payload: name, qos: 0 }));
  const known = new Map<number, string>();
  for (const name of names) {
    const { topic, payload, properties } = await subscriber.next('publish');
    const alias = properties?.topicAlias;
    assert(alias === undefined || alias <= 2);
    if (alias !== undefined && topic !== '') known.set(alias, topic);
    assert.equal(topic === '' ? known.get(alias ?? 0) : topic, `${device}/${name}`);
    assert.equal(payload.toString(), name);
  }
  assert.equal(known.size, 2);
});

test('publish: no subscribers is 0x10, a denied one 0x87 and the connection goes on, at QoS 1 and 2', async () => {
  const publisher = await open('ms-acc-3/acc-1/dev-1', 'codes');
  publisher.send(publish({ topic: 'ms-acc-3/acc-1/dev-1/x', messageId: 1 }));
  publisher.send(publish({ topic: 'ms-acc-4/x', messageId: 2 }));
  publisher.send(publish({ topic: 'ms-acc-3/acc-1/dev-1/x', messageId: 3, qos: 2 }));
  publisher.send(publish({ topic: 'ms-acc-4/x', messageId: 4, qos: 2 }));
  publisher.send(publish({ topic: 'ms-acc-4/x', qos: 0 }));
  const packets = await publisher.settled();
  assert.deepEqual(
    packets.map(({ cmd, messageId, ...rest }) => [
      cmd,
      messageId,
      'reasonCode' in rest ? rest.reasonCode : undefined,
    ]),
    [
      ['puback', 1, 0x10],
      ['puback', 2, 0x87],
      ['pubrec', 3, 0x10],
      ['pubrec', 4, 0x87],
    ],
  );
  publisher.send({ cmd: 'pubrel', messageId: 3, reasonCode: 0 });
  publisher.send({ cmd: 'pubrel', messageId: 4, reasonCode: 0 });
  assert.deepEqual((await publisher.next('pubcomp')).reasonCode ?? 0, 0);
  assert.deepEqual((await publisher.next('pubcomp')).reasonCode, 0x92);
});

test('publish: a wildcard is malformed, a topic that is too long is 0x90, a payload that is not the text it says 0x99', async () => {
  const client = await open(device, 'topics');
  client.send(publish({ topic: `${device}/${'x'.repeat(300)}` }));
  assert.equal((await client.next('puback')).reasonCode, 0x90);
  client.send(publish({ payload: Buffer.from([0xff]), properties: { payloadFormatIndicator: true } }));
  assert.equal((await client.next('puback')).reasonCode, 0x99);
  client.sendHex('32 07 0003 612f23 0001 00'.replace('32 07', '32 08'));
  assert.equal((await client.next('disconnect')).reasonCode, 0x81);
});

test('publish: a full queue is 0x97, and the connection goes on', async () => {
  const { broker: other } = await site.start({
    data: path.join(site.directory, 'full'),
    limits: { queuedMessagesMax: 2 },
  });
  const away = await site.rawConnect(other, 'ms-acc-1', 5);
  await away.open({ clientId: 's', clean: false, properties: { sessionExpiryInterval: 100 } });
  await subscribe(away, 'ms-acc-1/#');
  away.send({ cmd: 'disconnect', reasonCode: 0 });
  await away.closed;
  const publisher = await site.rawConnect(other, device, 5);
  await publisher.open({ clientId: 'p' });
  for (const messageId of [1, 2, 3]) publisher.send(publish({ messageId }));
  publisher.send(publish({ messageId: 4, qos: 2 }));
  const codes = (await publisher.settled()).map((packet) => ('reasonCode' in packet ? packet.reasonCode : 0));
  assert.deepEqual(codes, [0, 0, 0x97, 0x97]);
});

test('receive maximum: that of the client bounds what it is sent, until it acknowledges', async () => {
  const subscriber = await open('ms-acc-1', 'slow', { properties: { receiveMaximum: 2 } });
  await subscribe(subscriber, 'ms-acc-1/#', { qos: 2 });
  const publisher = await open(device, 'p-slow');
  for (const messageId of [1, 2, 3, 4])
    publisher.send(publish({ messageId, qos: 1, payload: String(messageId) }));
  for (let answers = 0; answers < 4; answers++) await publisher.next('puback');
  assert.equal((await subscriber.settled()).length, 2);
  const first = await subscriber.next('publish');
  subscriber.send({ cmd: 'puback', messageId: first.messageId ?? 0, reasonCode: 0 });
  assert.equal((await subscriber.settled()).length, 2);
  // One that refuses a message has it off its window too.
  const second = await subscriber.next('publish');
  subscriber.send({ cmd: 'puback', messageId: second.messageId ?? 0, reasonCode: 0x97 });
  assert.deepEqual(
    (await subscriber.settled()).map((packet) => packet.cmd === 'publish' && packet.payload.toString()),
    ['3', '4'],
  );
});

test('receive maximum: who exceeds that of the broker is told 0x93', async () => {
  const { broker: other } = await site.start({
    data: path.join(site.directory, 'window'),
    limits: { incomingQos2Max: 3 },
  });
  const publisher = await site.rawConnect(other, device, 5);
  assert.equal((await publisher.open({ clientId: 'p' })).properties?.receiveMaximum, 3);
  for (const messageId of [1, 2, 3, 4]) publisher.send(publish({ messageId, qos: 2 }));
  assert.equal((await publisher.next('disconnect')).reasonCode, 0x93);
});

test('PUBREC: a refusal ends the exchange, and the identifier is free', async () => {
  const subscriber = await open('ms-acc-1', 'refuser', { properties: { receiveMaximum: 1 } });
  await subscribe(subscriber, 'ms-acc-1/#', { qos: 2 });
  const publisher = await open(device, 'p-refuser');
  for (const messageId of [1, 2]) publisher.send(publish({ messageId, qos: 2, payload: String(messageId) }));
  const { messageId = 0 } = await subscriber.next('publish');
  subscriber.send({ cmd: 'pubrec', messageId, reasonCode: 0x99 });
  assert.equal((await subscriber.next('publish')).payload.toString(), '2');
  assert.deepEqual(await subscriber.settled(), []);
  subscriber.send({ cmd: 'pubrec', messageId: 999, reasonCode: 0 });
  assert.partialDeepStrictEqual(await subscriber.next('pubrel'), { messageId: 999, reasonCode: 0x92 });
});

test('PUBACK, PUBREC, PUBCOMP: one that belongs to another exchange is a protocol error', async () => {
  for (const [qos, answer] of [
    [1, 'pubrec'],
    [1, 'pubcomp'],
    [2, 'puback'],
    [2, 'pubcomp'],
  ] as const) {
    const subscriber = await open('ms-acc-1', 'confused');
    await subscribe(subscriber, 'ms-acc-1/#', { qos });
    const publisher = await open(device, 'p-confused');
    publisher.send(publish({ qos }));
    const { messageId = 0 } = await subscriber.next('publish');
    subscriber.send({ cmd: answer, messageId, reasonCode: 0 });
    assert.equal((await subscriber.next('disconnect')).reasonCode, 0x82, `${answer} to QoS ${qos}`);
  }
});

test('publish: a topic with NUL ends the connection, whatever the version', async () => {
  for (const version of [4, 5] as const) {
    const client = await site.rawConnect(broker, device, version);
    await client.open({ clientId: 'nul' });
    client.sendHex(version === 5 ? '30 06 0003 610062 00' : '30 05 0003 610062');
    await client.closed;
    assert(journal.find('packet.refused', { clientId: 'nul', reason: 'malformed_packet' }));
  }
});

test('maximum packet size: what is larger is not sent to that client, and what follows is', async () => {
  const subscriber = await open('ms-acc-1', 'narrow', { properties: { maximumPacketSize: 100 } });
  await subscribe(subscriber, 'ms-acc-1/#');
  const publisher = await open(device, 'p-narrow');
  publisher.send(publish({ payload: 'x'.repeat(200), messageId: 1 }));
  publisher.send(publish({ payload: 'x'.repeat(200), qos: 0 }));
  publisher.send(publish({ payload: 'small', messageId: 2 }));
  assert.equal((await subscriber.next('publish')).payload.toString(), 'small');
  assert(journal.find('message.dropped', { clientId: 'narrow', reason: 'packet_too_large' }));
});

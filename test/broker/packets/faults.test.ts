import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { RunningBroker } from '../../../broker/main.ts';
import type { Journal, RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
let journal: Journal;
before(async () => {
  site = openSite();
  ({ broker, journal } = await site.start());
});
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const versions = [4, 5] as const;

async function open(version: 4 | 5, clientId: string): Promise<RawClient> {
  const client = await site.rawConnect(broker, device, version);
  await client.open({ clientId });
  return client;
}

/** MQTT 3.1.1 has no words for it: then the connection just ends. */
async function assertRefused(client: RawClient, reasonCode: number): Promise<void> {
  if (client.version === 5) assert.equal((await client.next('disconnect')).reasonCode, reasonCode);
  await client.closed;
  assert.deepEqual(client.packets, []);
}

test('DISCONNECT: reaches a client that goes on sending', async () => {
  const client = await open(5, 'talkative');
  let isReset = false;
  client.socket.once('error', () => (isReset = true));
  client.sendHex('00 00');
  const flood = Buffer.alloc(8 * 1024 ** 2, 0xc0);
  client.socket.write(flood);
  assert.equal((await client.next('disconnect')).reasonCode, 0x82);
  await client.closed;
  assert(!isReset, 'a reset came before the end');
});

for (const version of versions) {
  test(`acknowledgement of the wrong kind, MQTT ${version}: ends the connection; of an unknown identifier it does not`, async () => {
    for (const [qos, cmd] of [
      [1, 'pubrec'],
      [1, 'pubcomp'],
      [2, 'puback'],
      [2, 'pubcomp'],
    ] as const) {
      const client = await open(version, `wrong-${version}-${qos}-${cmd}`);
      client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `${device}/x`, qos }] });
      await client.next('suback');
      client.send({ cmd, messageId: 9 });
      if (cmd === 'pubrec') await client.next('pubrel');
      client.send({
        cmd: 'publish',
        topic: `${device}/x`,
        payload: 'x',
        qos,
        dup: false,
        retain: false,
        messageId: 1,
      });
      const { messageId = 0 } = await client.next('publish');
      await client.next(qos === 1 ? 'puback' : 'pubrec');
      client.send({ cmd, messageId });
      await assertRefused(client, 0x82);
      assert(
        journal.find('packet.refused', {
          clientId: `wrong-${version}-${qos}-${cmd}`,
          reason: 'protocol_error',
        }),
      );
    }
  });
}

/** Malformed whatever the version: [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.8.2-1]. */
const malformedFilters = [
  '',
  'a+',
  'a#',
  '#/a',
  'a/#/b',
  'a\0',
  'a\u0001',
  'a\u009f',
  '$share/g',
  '$share//a',
  '$share/g/',
];
const malformedNames = [
  '',
  '+',
  'a/#',
  `${device}/+`,
  `${device}/\0`,
  `${device}/\u001f`,
  `${device}/\u007f`,
];
/** A length, and the text behind it. */
const text = (value: string): string => {
  const bytes = Buffer.from(value);
  return bytes.length.toString(16).padStart(4, '0') + bytes.toString('hex');
};
/** The fixed header before a body of less than 128 bytes. */
const packet = (first: string, body: string): string =>
  first + (body.length / 2).toString(16).padStart(2, '0') + body;

for (const version of versions) {
  const properties = version === 5 ? '00' : '';

  test(`malformed filter, MQTT ${version}: ends the connection, and nothing is subscribed`, async () => {
    for (const [index, filter] of malformedFilters.entries()) {
      const good = text(`${device}/x`);
      for (const hex of [
        packet('82', `0001${properties}${good}00${text(filter)}00`),
        packet('a2', `0001${properties}${good}${text(filter)}`),
      ]) {
        const clientId = `filter-${version}-${index}`;
        const client = await open(version, clientId);
        client.sendHex(hex);
        await assertRefused(client, 0x81);
        assert(journal.find('packet.refused', { clientId, reason: 'malformed_packet' }), filter);
      }
    }
  });

  test(`malformed topic name, MQTT ${version}: ends the connection, also where what is denied is dropped`, async () => {
    const data = path.join(site.directory, `names-${version}`);
    const { broker: dropping, journal: lines } = await site.start({ data, deniedPublish: 'drop' });
    for (const [index, name] of malformedNames.entries()) {
      const clientId = `name-${version}-${index}`;
      const client = await site.rawConnect(dropping, device, version);
      await client.open({ clientId });
      client.sendHex(packet('32', `${text(name)}0001${properties}78`));
      // MQTT 5 §3.3.2.1: without an alias, an empty one is a protocol error.
      await assertRefused(client, version === 5 && name === '' ? 0x82 : 0x81);
      assert(lines.find('packet.refused', { clientId }), name);
    }
    assert(!lines.find('publish.denied'));
  });

  test(`CONNECT, MQTT ${version}: a malformed will topic, client id or user name is refused`, async () => {
    const connect = (flags: string, payload: string): string =>
      packet('10', `${text('MQTT')}0${version}${flags}0000${properties}${payload}`);
    const cases = malformedNames.map((name) =>
      connect('06', text('w') + properties + text(name) + text('x')),
    );
    cases.push(connect('02', text('a\u0002')), connect('82', text('c') + text('a\u0085')));
    for (const hex of cases) {
      const client = await site.rawConnect(broker, device, version);
      client.sendHex(hex);
      if (version === 5) assert.equal((await client.next('connack')).reasonCode, 0x81);
      await client.closed;
      assert.deepEqual(client.packets, []); // no CONNACK at 3.1.1, which has no return code for it
    }
  });
}

test('topicBytesMax, topicLevelsMax: MQTT 5 has a reason code for them, 3.1.1 a return code for a filter alone', async () => {
  const limits = { topicLevelsMax: 12, topicBytesMax: 300 };
  const data = path.join(site.directory, 'bounds');
  const { broker: bounded, journal: lines } = await site.start({ data, limits });
  const fits = [`${device}${'/x'.repeat(9)}`, `${device}/${'x'.repeat(279)}`];
  const exceeds = [`${device}${'/x'.repeat(10)}`, `${device}/${'x'.repeat(280)}`];
  const publish = (topic: string, messageId: number) =>
    ({ cmd: 'publish', topic, payload: 'x', qos: 1, dup: false, retain: false, messageId }) as const;
  for (const version of versions) {
    const client = await site.rawConnect(bounded, device, version);
    await client.open({ clientId: `bounds-${version}` });
    const subscriptions = [...fits, ...exceeds].map((topic) => ({ topic, qos: 1 as const }));
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    const refused = version === 5 ? 0x8f : 0x80;
    assert.deepEqual((await client.next('suback')).granted, [1, 1, refused, refused]);
    for (const topic of fits) client.send(publish(topic, 2));
    for (const topic of fits) assert.equal((await client.next('publish')).topic, topic);
    if (version === 5) {
      for (const topic of exceeds) client.send(publish(topic, 3));
      const codes = [];
      for (let answers = 0; answers < 4; answers++) codes.push((await client.next('puback')).reasonCode ?? 0);
      assert.deepEqual(codes, [0, 0, 0x90, 0x90]);
    } else {
      client.send(publish(exceeds[0] ?? '', 3));
      await client.closed;
    }
  }
  for (const reason of ['topic_too_deep', 'topic_too_long']) {
    assert(lines.find('subscription.denied', { clientId: 'bounds-4', reason }));
    assert(lines.find('publish.refused', { clientId: 'bounds-5', reason }));
  }
  assert(lines.find('connection.closed', { clientId: 'bounds-4', reason: 'topic_too_deep' }));
});

test('a shared subscription of 3.1.1: the inner filter decides the right and the bounds', async () => {
  const client = await open(4, 'shares');
  const filters = [`$share/g/${device}/#`, '$share/g/ms-acc-2/#', `$share/g/${device}${'/x'.repeat(5)}`];
  const subscriptions = filters.map((topic) => ({ topic, qos: 1 as const }));
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
  assert.deepEqual((await client.next('suback')).granted, [1, 0x80, 1]);
});

test('CONNECT: the name of another protocol is not answered, a level that nobody knows is', async () => {
  for (const [name, level, answer] of [
    ['MQT', '04', ''],
    ['', '04', ''],
    ['MQTTT', '05', ''],
    ['MQTT', '06', '20020001'],
    ['MQIsdp', '04', '20020001'],
  ] as const) {
    const client = await site.rawConnect(broker, device);
    client.sendHex(packet('10', `${text(name)}${level}020000${text('c')}`));
    await client.closed;
    assert.equal(client.bytes.toString('hex'), answer, `${name} ${level}`);
  }
  assert(journal.find('packet.refused', { reason: 'unknown_protocol' }));
});

test('MQTT 3.1: unused bits may be set, CONNACK says nothing of the session, and a client has a name', async () => {
  const connect = (first: string, flags: string, clientId: string): string =>
    packet(first, `${text('MQIsdp')}03${flags}0000${text(clientId)}`);
  const answers = [];
  for (const hex of [connect('1f', '01', 'old'), connect('10', '00', 'old'), connect('10', '02', '')]) {
    const client = await site.rawConnect(broker, device);
    client.sendHex(hex);
    const { returnCode, sessionPresent } = await client.next('connack');
    answers.push([returnCode, sessionPresent]);
    client.socket.end();
    await client.closed;
  }
  assert.deepEqual(answers, [
    [0, false],
    [0, false],
    [2, false],
  ]);
});

test('maximum packet size: a SUBSCRIBE whose answer would be larger is refused, and nothing is subscribed', async () => {
  const client = await site.rawConnect(broker, device, 5);
  await client.open({ clientId: 'narrow', properties: { maximumPacketSize: 60 } });
  const topics = Array.from({ length: 53 }, (_, index) => `${device}/${index}`);
  const ask = (count: number): void =>
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: topics.slice(0, count).map((topic) => ({ topic, qos: 0 })),
    });
  ask(52);
  assert.equal((await client.next('suback')).granted.length, 52);
  client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: topics.slice(0, 52) });
  assert.equal((await client.next('unsuback')).granted?.length, 52);
  ask(53);
  assert.equal((await client.next('disconnect')).reasonCode, 0x95);
  await client.closed;
  assert.deepEqual(client.packets, []);
});

test('maximum packet size: a refusal that would be larger says its code alone [MQTT-3.2.2-19]', async () => {
  for (const [maximumPacketSize, reasonString] of [
    [100, 'client_id_too_long'],
    [20, undefined],
  ] as const) {
    const client = await site.rawConnect(broker, device, 5);
    const clientId = 'x'.repeat(200);
    const { reasonCode, properties } = await client.open({ clientId, properties: { maximumPacketSize } });
    assert.equal(reasonCode, 0x85);
    assert.equal(properties?.reasonString, reasonString);
    await client.closed;
  }
});

test('SUBSCRIBE, UNSUBSCRIBE: with more filters than a session may have, they are refused before all are read', async () => {
  const { broker, journal } = await site.start({
    data: path.join(site.directory, 'filters'),
    limits: { subscriptionsPerSessionMax: 2 },
  });
  for (const [kind, first, filter] of [
    ['SUBSCRIBE', 0x82, '0001 61 00'],
    ['UNSUBSCRIBE', 0xa2, '0001 61'],
  ] as const) {
    const client = await site.rawConnect(broker, device, 5);
    await client.open({ clientId: kind });
    // The last of them would be malformed, had anybody got so far.
    const body = Buffer.from(`0001 00 ${filter.repeat(3)} ffff`.replaceAll(' ', ''), 'hex');
    client.socket.write(Buffer.concat([Buffer.from([first, body.length]), body]));
    assert.partialDeepStrictEqual(await client.next('disconnect'), { reasonCode: 0x97 });
    await client.closed;
    await journal.until('packet.refused', { clientId: kind, reason: 'subscriptions_max' });
  }
});

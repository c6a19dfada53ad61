import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
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
const connect = (name = device): Promise<RawClient> => site.rawConnect(broker, name, 5);

test('CONNACK: says what the broker bounds, and what it changed', async () => {
  const client = await connect();
  const { reasonCode, properties } = await client.open({
    clientId: '',
    keepalive: 0,
    properties: { sessionExpiryInterval: 0xffff_ffff, requestResponseInformation: true },
  });
  assert.equal(reasonCode, 0);
  assert.partialDeepStrictEqual(properties, {
    sessionExpiryInterval: 60 * 86_400,
    receiveMaximum: 1024,
    maximumPacketSize: 266_240,
    topicAliasMaximum: 64,
    serverKeepAlive: 3600,
    responseInformation: device,
    retainAvailable: true,
    wildcardSubscriptionAvailable: true,
    subscriptionIdentifiersAvailable: true,
  });
  assert.match(properties?.assignedClientIdentifier ?? '', /^auto-/);
  assert(properties !== undefined && !('maximumQoS' in properties), 'absent means 2');
  const modest = await connect();
  const second = await modest.open({ clientId: 'modest', keepalive: 60 });
  for (const absent of [
    'assignedClientIdentifier',
    'serverKeepAlive',
    'sessionExpiryInterval',
    'responseInformation',
  ]) {
    assert(!(absent in (second.properties ?? {})), absent);
  }
});

const refusals: readonly (readonly [why: string, hex: string, code: number])[] = [
  ['an authentication method', '10 14 0004 4d515454 05 02 003c 06 15 0003 783a79 0001 61', 0x8c],
  ['a reserved flag', '10 0e 0004 4d515454 05 03 003c 00 0001 61', 0x81],
  ['a property twice', '10 14 0004 4d515454 05 02 003c 06 21 0001 21 0001 0001 61', 0x82],
  ['a client identifier with NUL', '10 0e 0004 4d515454 05 02 003c 00 0001 00', 0x81],
  ['a will on a foreign topic', '10 15 0004 4d515454 05 06 003c 00 0001 61 00 0001 78 0001 79', 0x87],
];
for (const [why, hex, code] of refusals) {
  test(`CONNACK: ${why} is refused with 0x${code.toString(16)}, and the connection ends`, async () => {
    const client = await connect();
    client.sendHex(hex);
    const { reasonCode, properties } = await client.next('connack');
    assert.equal(reasonCode, code);
    assert.match(properties?.reasonString ?? '', /\w/);
    await client.closed;
  });
}

test('CONNACK: a client identifier that is too long is refused with 0x85, a session too many with 0x97', async () => {
  const long = await connect();
  assert.equal((await long.open({ clientId: 'x'.repeat(129) })).reasonCode, 0x85);
  const { broker: small } = await site.start({
    data: path.join(site.directory, 'small'),
    limits: { perIdentity: { sessionsMax: 1 } },
  });
  await (await site.rawConnect(small, device, 5)).open({ clientId: 'a' });
  const second = await site.rawConnect(small, device, 5);
  assert.equal((await second.open({ clientId: 'b' })).reasonCode, 0x97);
});

test('CONNACK: a client that takes only small packets gets a small one, or is not served', async () => {
  const small = await connect();
  const { reasonCode, properties } = await small.open({
    clientId: 'small',
    keepalive: 9,
    properties: { maximumPacketSize: 20 },
  });
  assert.equal(reasonCode, 0);
  assert(!('retainAvailable' in (properties ?? {})));
  const tiny = await connect();
  tiny.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 5,
    clean: true,
    clientId: 'tiny',
    keepalive: 9,
    properties: { maximumPacketSize: 5 },
  });
  await tiny.closed;
  assert.equal(tiny.bytes.length, 0);
});

async function openAs(
  clientId: string,
  clean: boolean,
  sessionExpiryInterval?: number,
): Promise<[RawClient, boolean]> {
  const client = await connect();
  const { sessionPresent } = await client.open({
    clientId,
    clean,
    ...(sessionExpiryInterval === undefined ? {} : { properties: { sessionExpiryInterval } }),
  });
  return [client, sessionPresent];
}

async function leave(client: RawClient, properties?: { sessionExpiryInterval: number }): Promise<void> {
  client.send({ cmd: 'disconnect', reasonCode: 0, ...(properties === undefined ? {} : { properties }) });
  await client.closed;
}

test('session: without an expiry interval it ends with its connection, whatever clean start says', async () => {
  const [first] = await openAs('brief', false);
  await leave(first);
  const [, present] = await openAs('brief', false);
  assert.equal(present, false);
});

test('session: it waits for as long as its expiry interval, to the second', async () => {
  const [first] = await openAs('patient', false, 100);
  await leave(first);
  nowMs += 99_000;
  const [second, present] = await openAs('patient', false, 100);
  assert.equal(present, true);
  await leave(second);
  nowMs += 100_000;
  const [third, isLate] = await openAs('patient', false, 100);
  assert.equal(isLate, false);
  await leave(third);
});

test('session: a clean start ends the one before', async () => {
  const [first] = await openAs('fresh', false, 100);
  await leave(first);
  const [, present] = await openAs('fresh', true, 100);
  assert.equal(present, false);
});

test('session: DISCONNECT shortens it to nothing, or prolongs one that was to outlive the connection', async () => {
  const [first] = await openAs('changing', false, 100);
  await leave(first, { sessionExpiryInterval: 0 });
  const [second, present] = await openAs('changing', false, 1);
  assert.equal(present, false);
  await leave(second, { sessionExpiryInterval: 1000 });
  nowMs += 500_000;
  const [, isThere] = await openAs('changing', false, 1);
  assert.equal(isThere, true);
});

test('session: DISCONNECT that wants more for one without an expiry interval is a protocol error', async () => {
  const [client] = await openAs('greedy', false);
  client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 5 } });
  assert.equal((await client.next('disconnect')).reasonCode, 0x82);
  await client.closed;
});

test('session: it expires while the broker is stopped, and what outlives it is still there', async () => {
  const data = { data: path.join(site.directory, 'expiry') };
  let timeMs = Date.now();
  const clock = (): number => timeMs;
  const first = await site.start(data, { clock });
  for (const [clientId, seconds] of [
    ['short', 10],
    ['long', 1000],
  ] as const) {
    const client = await site.rawConnect(first.broker, device, 5);
    await client.open({ clientId, clean: false, properties: { sessionExpiryInterval: seconds } });
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `${device}/#`, qos: 1 }] });
    await client.next('suback');
  }
  await site.stop(first.broker);
  timeMs += 100_000;
  const second = await site.start(data, { clock });
  for (const [clientId, isThere] of [
    ['short', false],
    ['long', true],
  ] as const) {
    const client = await site.rawConnect(second.broker, device, 5);
    const { sessionPresent } = await client.open({
      clientId,
      clean: false,
      properties: { sessionExpiryInterval: 1 },
    });
    assert.equal(sessionPresent, isThere, clientId);
  }
});

test('takeover: the first client is told so with 0x8E; of another identity with the same id it is not', async () => {
  const first = await connect();
  await first.open({ clientId: 'same' });
  const foreign = await connect('ms-acc-2');
  await foreign.open({ clientId: 'same' });
  const second = await connect();
  await second.open({ clientId: 'same' });
  assert.equal((await first.next('disconnect')).reasonCode, 0x8e);
  await first.closed;
  assert.deepEqual(await foreign.settled(), []);
});

test('DISCONNECT: keep-alive, a second CONNECT, AUTH, a malformed and a large packet each have their reason', async () => {
  const silent = await site.rawConnect(broker, device, 5);
  await silent.open({ clientId: 'silent', keepalive: 1 });
  const cases: readonly (readonly [string, number])[] = [
    ['10 0e 0004 4d515454 05 02 003c 00 0001 61', 0x82],
    ['f0 00', 0x82],
    ['f0 0b 18 09 15 0003 783a79 16 0000', 0x82],
    ['30 03 0001 61', 0x81],
    ['30 ff ff ff 7f', 0x95],
    ['c1 00', 0x81],
    ['20 02 00 00', 0x82],
  ];
  for (const [hex, code] of cases) {
    const client = await connect();
    await client.open({ clientId: 'bad' });
    client.sendHex(hex);
    const { reasonCode, properties } = await client.next('disconnect');
    assert.equal(reasonCode, code, hex);
    assert.match(properties?.reasonString ?? '', /\w/);
    await client.closed;
  }
  assert.equal((await silent.next('disconnect')).reasonCode, 0x8d);
});

test('DISCONNECT: without problem information there is no reason string', async () => {
  const client = await connect();
  await client.open({ clientId: 'terse', properties: { requestProblemInformation: false } });
  client.sendHex('f0 00');
  const { reasonCode, properties } = await client.next('disconnect');
  assert.equal(reasonCode, 0x82);
  assert.equal(properties, undefined);
});

test('DISCONNECT: a broker that stops says 0x8B', async () => {
  const { broker: other } = await site.start({ data: path.join(site.directory, 'stopping') });
  const client = await site.rawConnect(other, device, 5);
  await client.open({ clientId: 'last' });
  const stopped = site.stop(other);
  assert.equal((await client.next('disconnect')).reasonCode, 0x8b);
  await stopped;
});

test('MQTT.js 5: connects with a session, and hears why it is refused', async () => {
  const client = await site.connect(broker, device, {
    protocolVersion: 5,
    clientId: 'foreign',
    clean: false,
    properties: { sessionExpiryInterval: 300 },
  });
  await client.endAsync();
  await assert.rejects(
    site.connect(broker, device, {
      protocolVersion: 5,
      will: { topic: 'ms-acc-2/status', payload: Buffer.from('x'), qos: 0, retain: false },
    }),
    /Not authorized/,
  );
  assert(journal.find('session.refused', { reason: 'will_denied' }));
});

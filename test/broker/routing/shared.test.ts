import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { IConnectPacket, IPublishPacket } from 'mqtt-packet';
import type { RunningBroker } from '../../../broker/main.ts';
import { neverExpires } from '../../../broker/routing/session.ts';
import type { RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
before(async () => {
  site = openSite();
  ({ broker } = await site.start());
});
after(() => site.remove());

const service = 'vendor-snapshot-service';
const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };
let groups = 0;
/** Each test has its own device, so that what one leaves behind is not another's. */
const nextDevice = (): string => `ms-acc-1/acc-1/dev-${++groups}`;

async function open(
  clientId: string,
  options: Partial<IConnectPacket> = {},
  { to = broker, name = service, version = 5 }: { to?: RunningBroker; name?: string; version?: 4 | 5 } = {},
): Promise<RawClient> {
  const client = await site.rawConnect(to, name, version);
  await client.open({ clientId, ...options });
  return client;
}

async function share(client: RawClient, filter: string, qos: 0 | 1 | 2 = 1): Promise<void> {
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos }] });
  assert.deepEqual((await client.next('suback')).granted, [qos]);
}

/** Publishes `count` numbered messages, each acknowledged. */
async function publish(
  device: string,
  count: number,
  fields: Partial<IPublishPacket> = {},
  to = broker,
): Promise<void> {
  const publisher = await open('p', {}, { to, name: device });
  for (let index = 0; index < count; index++) {
    const topic = `${device}/snapshots`;
    const packet = {
      cmd: 'publish',
      topic,
      payload: String(index),
      qos: 1,
      dup: false,
      retain: false,
    } as const;
    publisher.send({ ...packet, messageId: index + 1, ...fields });
  }
  await publisher.settled();
  publisher.socket.destroy();
}

/** Acknowledges all that came, and says what it was. */
async function take(client: RawClient): Promise<string[]> {
  const texts: string[] = [];
  const packets = [...(await client.settled())];
  client.packets.length = 0;
  for (const packet of packets) {
    assert(packet.cmd === 'publish');
    texts.push(packet.payload.toString());
    if (packet.qos > 0) client.send({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode: 0 });
  }
  return texts;
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

test('$share: each message goes to one member, in turn, and to everybody outside of the group', async () => {
  const device = nextDevice();
  const filter = '$share/g/+/+/+/snapshots';
  const [first, second] = [await open('m-1'), await open('m-2')];
  await share(first, filter);
  await share(second, filter);
  const other = await open('other-group');
  await share(other, '$share/h/+/+/+/snapshots');
  const alone = await open('alone');
  await share(alone, '+/+/+/snapshots');
  await publish(device, 40);
  const [a, b] = [await take(first), await take(second)];
  assert.deepEqual([...a, ...b].toSorted(), numbers(40).toSorted());
  assert(a.length >= 15 && b.length >= 15, `${a.length} and ${b.length}`);
  assert.deepEqual(await take(other), numbers(40));
  assert.deepEqual(await take(alone), numbers(40));
  for (const client of [first, second, other, alone]) client.socket.destroy();
});

test('$share: clients of 3.1.1 and of 5 share, at QoS 0 too, and the publisher learns when nobody is left', async () => {
  const device = nextDevice();
  const filter = `$share/mixed/${device}/#`;
  const owner = { name: 'ms-acc-1' };
  const old = await open('old', {}, { ...owner, version: 4 });
  const young = await open('young', {}, owner);
  await share(old, filter, 0);
  await share(young, filter, 0);
  await publish(device, 10, { qos: 0 });
  const seen = [await take(old), await take(young)];
  assert.deepEqual(
    seen.map(({ length }) => length),
    [5, 5],
  );
  for (const client of [old, young]) {
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [filter] });
    await client.next('unsuback');
  }
  const publisher = await open('p', {}, { name: device });
  const packet = { cmd: 'publish', topic: `${device}/snapshots`, payload: 'x', qos: 1, dup: false } as const;
  publisher.send({ ...packet, retain: false, messageId: 1 });
  assert.equal((await publisher.next('puback')).reasonCode, 0x10);
});

test('$share: gets nothing that is retained, and no local with it is a protocol error', async () => {
  const device = nextDevice();
  await publish(device, 1, { retain: true });
  const member = await open('no-retained', {}, { name: 'ms-acc-1' });
  await share(member, `$share/r/${device}/#`);
  assert.deepEqual(await member.settled(), []);
  member.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [{ topic: `$share/r/${device}/#`, qos: 1, nl: true }],
  });
  assert.equal((await member.next('disconnect')).reasonCode, 0x82);
});

test('$share: two identities never share, whatever the name: each group gets everything', async () => {
  const device = nextDevice();
  const filter = `$share/same/${device}/#`;
  const members = [
    await open('a', {}, { name: 'ms-acc-1' }),
    await open('a', {}, { name: 'ms-acc-1/acc-1' }),
  ];
  for (const member of members) await share(member, filter);
  await publish(device, 5);
  for (const member of members) assert.deepEqual(await take(member), numbers(5));
});

test('$share: a stored session keeps what it was sent; one that ends leaves it to the others', async () => {
  const device = nextDevice();
  const filter = `$share/end/${device}/#`;
  const owner = { name: 'ms-acc-1' };
  const lost = await open('ends', {}, owner);
  await share(lost, filter);
  await publish(device, 3);
  assert.equal((await lost.settled()).length, 3);
  const stays = await open('stays', lasting, owner);
  await share(stays, filter);
  lost.sendHex('f0 00');
  await lost.closed;
  assert.deepEqual((await stays.settled()).length, 3);
  stays.sendHex('f0 00');
  await stays.closed;
  const late = await open('late', {}, owner);
  await share(late, filter);
  assert.deepEqual(await take(late), []);
  const back = await open('stays', lasting, owner);
  assert.deepEqual(await take(back), numbers(3));
});

test('$share: of a session that ends, what of QoS 2 its client may have goes to nobody else [MQTT-4.8.2-5]', async () => {
  const device = nextDevice();
  const filter = `$share/twice/${device}/#`;
  const owner = { name: 'ms-acc-1' };
  const lost = await open('ends-2', { properties: { receiveMaximum: 2 } }, owner);
  await share(lost, filter, 2);
  await publish(device, 4, { qos: 2 });
  assert.equal((await lost.settled()).length, 2);
  const other = await open('other-2', {}, owner);
  await share(other, filter, 2);
  lost.sendHex('f0 00');
  await lost.closed;
  const texts = (await other.settled()).map(
    (packet) => packet.cmd === 'publish' && packet.payload.toString(),
  );
  assert.deepEqual(texts, ['2', '3']);
});

test('$share: with nobody there it waits for a stored member, also over a restart, and passes on when it expires', async () => {
  const data = { data: path.join(site.directory, 'shared') };
  let nowMs = Date.now();
  const clock = (): number => nowMs;
  let { broker: to } = await site.start(data, { clock });
  const device = nextDevice();
  const filter = `$share/wait/${device}/#`;
  const owner = { name: 'ms-acc-1' };
  const brief = await open(
    'brief',
    { clean: false, properties: { sessionExpiryInterval: 100 } },
    { to, ...owner },
  );
  await share(brief, filter);
  brief.sendHex('f0 00');
  await brief.closed;
  await publish(device, 300, {}, to);
  await site.stop(to);
  ({ broker: to } = await site.start(data, { clock }));
  await publish(device, 1, { payload: 'after' }, to);
  const heir = await open('heir', lasting, { to, ...owner });
  await share(heir, filter);
  assert.deepEqual(await take(heir), []);
  nowMs += 101_000;
  const expected = [...numbers(300), 'after'];
  const texts: string[] = [];
  while (texts.length < expected.length) {
    const { payload, messageId } = await heir.next('publish');
    texts.push(payload.toString());
    heir.send({ cmd: 'puback', messageId: messageId ?? 0, reasonCode: 0 });
  }
  assert.deepEqual(texts, expected);
  assert.deepEqual(await heir.settled(), []);
  assert.equal(to.state().queued, 0);
});

test('$share: a member that does not acknowledge gets less than one that does, and a full one nothing', async () => {
  const { broker: to } = await site.start({
    data: path.join(site.directory, 'slow'),
    limits: { memoryQueuedMessagesMax: 20, queuedMessagesMax: 20 },
  });
  const device = nextDevice();
  const filter = `$share/slow/${device}/#`;
  const slow = await open('slow', {}, { to, name: 'ms-acc-1' });
  await share(slow, filter);
  const quick = await site.connect(to, 'ms-acc-1', { protocolVersion: 5 });
  await quick.subscribeAsync(filter, { qos: 1 });
  for (let round = 0; round < 10; round++) await publish(device, 10, {}, to);
  const got = (await slow.settled()).length;
  await site.received(quick).count(100 - got);
  assert(got <= 20, `${got} for the slow one`);
});

test('$share: when every member is full the publisher is refused with 0x97', async () => {
  const { broker: to } = await site.start({
    data: path.join(site.directory, 'all-full'),
    limits: { queuedMessagesMax: 2 },
  });
  const device = nextDevice();
  for (const clientId of ['a', 'b']) {
    const member = await open(clientId, lasting, { to, name: 'ms-acc-1' });
    await share(member, `$share/f/${device}/#`);
    member.sendHex('f0 00');
    await member.closed;
  }
  const publisher = await open('p', {}, { to, name: device });
  const packet = { cmd: 'publish', topic: `${device}/snapshots`, payload: 'x', qos: 1, dup: false } as const;
  for (const messageId of [1, 2, 3, 4, 5]) publisher.send({ ...packet, retain: false, messageId });
  const codes = (await publisher.settled()).map((one) => ('reasonCode' in one ? one.reasonCode : 0));
  assert.deepEqual(codes, [0, 0, 0, 0, 0x97]);
});

test('$share: a right that is gone after a restart takes the subscription and what was queued', async () => {
  const data = { data: path.join(site.directory, 'rights') };
  const roles = { 'vendor-test-service': { subscribe: ['+/+/+/snapshots'] } };
  const { broker: generous } = await site.start({ ...data, roles });
  const device = nextDevice();
  const name = 'vendor-test-service';
  const member = await open('m', lasting, { to: generous, name });
  await share(member, '$share/g/+/+/+/snapshots');
  member.sendHex('f0 00');
  await member.closed;
  await publish(device, 1, {}, generous);
  await site.stop(generous);
  const { broker: strict, journal: lines } = await site.start(data);
  const again = await open('m', lasting, { to: strict, name });
  await publish(device, 1, {}, strict);
  assert.deepEqual(await again.settled(), []);
  assert(lines.find('subscription.removed', { filter: '$share/g/+/+/+/snapshots' }));
  assert(lines.find('message.dropped', { reason: 'no_longer_allowed' }));
});

test('$share/by-topic…: what is published to a topic goes to one member, whatever becomes of the others', async () => {
  const devices = Array.from({ length: 12 }, () => nextDevice());
  const filter = '$share/by-topic-a/+/+/+/snapshots';
  const members = new Map<string, RawClient>();
  for (const clientId of ['t1', 't2', 't3']) members.set(clientId, await open(clientId, lasting));
  for (const member of members.values()) await share(member, filter);
  /** Device → who got its messages. */
  const round = async (): Promise<Map<string, string>> => {
    const takers = new Map<string, string>();
    for (const device of devices) {
      await publish(device, 3);
      for (const [clientId, member] of members) {
        const texts = await take(member);
        if (texts.length === 0) continue;
        assert.deepEqual(texts, ['0', '1', '2'], 'one gets all, in order');
        takers.set(device, clientId);
      }
    }
    return takers;
  };
  const before = await round();
  assert.equal(before.size, devices.length);
  assert.deepEqual(await round(), before);
  assert.ok(new Set(before.values()).size > 1, 'they share the work');
  members.get('t2')?.socket.destroy();
  members.delete('t2');
  const after = await round();
  for (const device of devices) {
    if (before.get(device) !== 't2')
      assert.equal(after.get(device), before.get(device), 'only topics of t2 move');
  }
  for (const member of members.values()) member.socket.destroy();
});

test('$share/by-topic…: one whose session lasts as long as any gets what the others leave, and takes no topic away from them', async () => {
  const devices = Array.from({ length: 12 }, () => nextDevice());
  const filter = '$share/by-topic-b/+/+/+/snapshots';
  const worker = await open('w', lasting);
  const rest = await open('r', { clean: false, properties: { sessionExpiryInterval: neverExpires } });
  for (const member of [rest, worker]) await share(member, filter);
  for (const device of devices) await publish(device, 1);
  assert.equal((await take(worker)).length, devices.length);
  assert.deepEqual(await take(rest), []);
  worker.send({ cmd: 'disconnect' });
  await worker.closed;
  for (const device of devices) await publish(device, 1);
  assert.equal((await take(rest)).length, devices.length);
  rest.socket.destroy();
});

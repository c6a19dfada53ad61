import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { RunningBroker } from '../../../broker/main.ts';
import type { RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
before(() => void (site = openSite()));
after(() => site.remove());

const owner = 'ms-acc-1';
const device = 'ms-acc-1/acc-1/dev-1';
const other = 'ms-acc-2';
const [success, quotaExceeded] = [0, 0x97];
/** What a clean session may have, and so a stored one whatever the others of its identity have. */
const memoryQueuedMessagesMax = 2;
let brokers = 0;
const freshData = (): string => path.join(site.directory, `data-${brokers++}`);

/** A stored session that is away, with one filter. */
async function leave(broker: RunningBroker, identity: string, clientId: string): Promise<void> {
  const client = await site.connect(broker, identity, { clientId, clean: false });
  await client.subscribeAsync(`${identity === device ? device : `${identity}/+/+`}/${clientId}`, { qos: 1 });
  await client.endAsync();
}

async function publisherOf(broker: RunningBroker, identity: string): Promise<RawClient> {
  const client = await site.rawConnect(broker, identity, 5);
  assert.equal((await client.open({ clientId: `p ${identity}` })).reasonCode, success);
  return client;
}

async function publish(publisher: RawClient, topic: string, payload: string): Promise<number> {
  publisher.send({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, messageId: 1 });
  return (await publisher.next('puback')).reasonCode ?? success;
}

/** @returns what a session that comes back gets, and keeps it connected */
async function read(broker: RunningBroker, clientId: string, count: number): Promise<string[]> {
  const client = await site.connect(broker, owner, { clientId, clean: false });
  const texts = await site.received(client).count(count);
  await client.endAsync();
  return texts.map((text) => text.slice(text.indexOf('=') + 1));
}

test('queued per identity: over all of its sessions, refused by name, right after a restart, freed by reading and by an end', async () => {
  const limits = { memoryQueuedMessagesMax, perIdentity: { queuedMessagesMax: 6 } };
  const settings = { data: freshData(), limits };
  const first = await site.start(settings);
  for (const clientId of ['one', 'two', 'three']) await leave(first.broker, owner, clientId);
  await leave(first.broker, other, 'elsewhere');
  let publisher = await publisherOf(first.broker, owner);
  const answers = async (clientId: string, count: number): Promise<number[]> => {
    const codes: number[] = [];
    for (let index = 0; index < count; index++)
      codes.push(await publish(publisher, `${device}/${clientId}`, String(index)));
    return codes;
  };
  assert.deepEqual(await answers('one', 4), [0, 0, 0, 0]);
  assert.deepEqual(await answers('two', 3), [0, 0, quotaExceeded]);
  assert.deepEqual(await answers('one', 1), [quotaExceeded]);
  const reason = 'queued_per_identity_max';
  assert(first.journal.find('publish.refused', { identity: owner, reason }));
  assert(first.journal.find('queue.full', { identity: owner, reason, queued: 6 }));
  assert.equal(first.journal.lines.filter(({ event }) => event === 'queue.full').length, 1);
  // Who reads is not stopped by what the others leave unread.
  assert.deepEqual(await answers('three', 3), [0, 0, quotaExceeded]);
  const elsewhere = await publisherOf(first.broker, other);
  assert.equal(await publish(elsewhere, `${other}/acc-1/dev-1/elsewhere`, 'x'), success);
  await site.stop(first.broker);

  const { broker, journal } = await site.start(settings);
  publisher = await publisherOf(broker, owner);
  assert.deepEqual(await answers('two', 1), [quotaExceeded]);
  await journal.until('queue.full', { identity: owner, reason, queued: 8 });
  assert.deepEqual(await read(broker, 'one', 4), ['0', '1', '2', '3']);
  await journal.until('queue.relieved', { identity: owner });
  await journal.until('connection.closed', { clientId: 'one' });
  assert.deepEqual(await answers('two', 3), [0, 0, quotaExceeded]);
  const client = await site.connect(broker, owner, { clientId: 'two', clean: true });
  assert.deepEqual(await answers('one', 3), [0, 0, 0]);
  await client.endAsync();
});

test('queued per identity: as many as one session may have, however many that are, unless it is set', async () => {
  const limits = { memoryQueuedMessagesMax, queuedMessagesMax: 5 };
  const { broker, journal } = await site.start({ data: freshData(), limits });
  for (const clientId of ['one', 'two']) await leave(broker, owner, clientId);
  const publisher = await publisherOf(broker, owner);
  for (const clientId of ['two', 'two', 'one', 'one', 'one'])
    assert.equal(await publish(publisher, `${device}/${clientId}`, 'x'), success);
  assert.equal(await publish(publisher, `${device}/one`, 'x'), quotaExceeded);
  assert(journal.find('publish.refused', { reason: 'queued_per_identity_max' }));
});

test('queued bytes per account: of all of its devices together, and of nobody else', async () => {
  const { broker, journal } = await site.start({
    data: freshData(),
    limits: { perAccount: { queuedBytesMax: 3000 } },
  });
  const sibling = 'ms-acc-1/acc-1/dev-2';
  for (const identity of [device, sibling]) {
    const client = await site.connect(broker, identity, { clientId: 'c', clean: false });
    await client.subscribeAsync(`${identity}/x`, { qos: 1 });
    await client.endAsync();
  }
  const publisher = await publisherOf(broker, owner);
  const payload = 'x'.repeat(1000);
  assert.equal(await publish(publisher, `${device}/x`, payload), success);
  assert.equal(await publish(publisher, `${sibling}/x`, payload), success);
  assert.equal(await publish(publisher, `${device}/x`, payload), quotaExceeded);
  const reason = 'queued_bytes_per_account_max';
  assert(journal.find('publish.refused', { reason }));
  assert(journal.find('queue.full', { account: 'ms-acc-1/acc-1', reason }));
});

test('queued per identity, `drop-oldest`: a queue makes room in itself, and no more than it takes', async () => {
  const limits = { memoryQueuedMessagesMax, perIdentity: { queuedMessagesMax: 6 } };
  const { broker, journal } = await site.start({ data: freshData(), queueFull: 'drop-oldest', limits });
  for (const clientId of ['one', 'two']) await leave(broker, owner, clientId);
  const publisher = await publisherOf(broker, owner);
  const send = async (clientId: string, texts: string): Promise<void> => {
    for (const text of texts) assert.equal(await publish(publisher, `${device}/${clientId}`, text), success);
  };
  await send('one', 'abcd');
  await send('two', '123');
  await send('one', 'ef');
  assert(journal.find('message.dropped', { clientId: 'one', reason: 'queued_per_identity_max', dropped: 1 }));
  assert.deepEqual(await read(broker, 'two', 2), ['2', '3']);
  assert.deepEqual(await read(broker, 'one', 4), ['c', 'd', 'e', 'f']);
});

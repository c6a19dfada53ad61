import assert from 'node:assert/strict';
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

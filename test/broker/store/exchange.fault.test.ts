import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Packet, PacketCmd } from 'mqtt-packet';
import { ExactClient } from '../../../soak/exact-client.ts';
import type { ExactClientOptions } from '../../../soak/exact-client.ts';
import type { BrokerProcess } from '../broker-process.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { Progress, openSite } from '../fixture.ts';
import { DiskFaults } from './disk-faults.ts';

let site: Site;
let faults: DiskFaults;
let broker: BrokerProcess | undefined;
before(() => {
  site = openSite();
  faults = new DiskFaults(site.directory);
});
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

function start(port: number): Promise<BrokerProcess> {
  const settings = { limits: { perIdentity: { sessionsMax: 100 } } };
  return startBrokerProcess(site, 'exchange', { port, settings, environment: faults.environment });
}

/** One after the other in one folder: each case begins with what the death before it has left. */
async function running(): Promise<BrokerProcess> {
  broker ??= await start(0);
  return broker;
}

async function restarted(): Promise<BrokerProcess> {
  const dead = await running();
  await dead.died();
  faults.end();
  broker = await start(dead.port);
  return broker;
}

/** When the broker dies: at the sync for a packet that it has read, or once a client has its answer. */
interface Death {
  readonly side: 'publisher' | 'subscriber';
  readonly qos: 1 | 2;
  /** What the client has when it comes to it; undefined: at its first packet. */
  readonly seen: PacketCmd | undefined;
  readonly when: 'before' | 'after' | 'answered';
  readonly name: string;
}

const deaths: readonly Death[] = [
  { side: 'publisher', qos: 1, seen: undefined, when: 'before', name: 'before PUBLISH is synced' },
  {
    side: 'publisher',
    qos: 1,
    seen: undefined,
    when: 'after',
    name: 'between the sync of PUBLISH and PUBACK',
  },
  { side: 'publisher', qos: 1, seen: 'puback', when: 'answered', name: 'after PUBACK' },
  { side: 'publisher', qos: 2, seen: undefined, when: 'before', name: 'before PUBLISH is synced' },
  {
    side: 'publisher',
    qos: 2,
    seen: undefined,
    when: 'after',
    name: 'between the sync of PUBLISH and PUBREC',
  },
  { side: 'publisher', qos: 2, seen: 'pubrec', when: 'before', name: 'before PUBREL is synced' },
  {
    side: 'publisher',
    qos: 2,
    seen: 'pubrec',
    when: 'after',
    name: 'between the sync of PUBREL and PUBCOMP',
  },
  { side: 'publisher', qos: 2, seen: 'pubcomp', when: 'answered', name: 'after PUBCOMP' },
  { side: 'subscriber', qos: 1, seen: 'publish', when: 'answered', name: 'after PUBLISH' },
  { side: 'subscriber', qos: 1, seen: 'publish', when: 'before', name: 'before PUBACK is synced' },
  { side: 'subscriber', qos: 1, seen: 'publish', when: 'after', name: 'after the sync of PUBACK' },
  { side: 'subscriber', qos: 2, seen: 'publish', when: 'answered', name: 'after PUBLISH' },
  { side: 'subscriber', qos: 2, seen: 'publish', when: 'before', name: 'before PUBREC is synced' },
  {
    side: 'subscriber',
    qos: 2,
    seen: 'publish',
    when: 'after',
    name: 'between the sync of PUBREC and PUBREL',
  },
  { side: 'subscriber', qos: 2, seen: 'pubrel', when: 'answered', name: 'after PUBREL' },
  { side: 'subscriber', qos: 2, seen: 'pubrel', when: 'before', name: 'before PUBCOMP is synced' },
  { side: 'subscriber', qos: 2, seen: 'pubrel', when: 'after', name: 'after the sync of PUBCOMP' },
];

/** Once the dying side has seen the packet in question, the broker ends: now, or at its next sync. */
function watch({ side, seen, when }: Death, dying: BrokerProcess): (packet: Packet) => boolean {
  return (packet) => {
    if (packet.cmd !== seen) return true;
    if (when !== 'answered') {
      faults.begin(when);
      return true;
    }
    void dying.kill();
    return side === 'publisher'; // a subscriber has it, and has not said so
  };
}

for (const [index, death] of deaths.entries()) {
  const { side, qos, seen, when, name } = death;
  test(`kill -9 of the broker, QoS ${qos} of a ${side}, ${name}: nothing is lost, nor twice at QoS 2`, async () => {
    let current = await running();
    const device = `ms-acc-1/acc-1/dev-${index}`;
    const topic = `${device}/snapshots`;
    const arrived: string[] = [];
    const count = new Progress();
    let isDying = true;
    const open = async (
      of: Death['side'],
      identity: string,
      more: Partial<ExactClientOptions>,
    ): Promise<ExactClient> => {
      const tls = await site.credentials(identity);
      const spy = watch(death, current);
      return new ExactClient({
        port: current.port,
        tls,
        clientId: `${of} ${index}`,
        qos,
        ...more,
        onPacket: (packet) => (isDying && of === side ? spy(packet) : true),
      });
    };
    const acknowledged = new Progress();
    const publisher = await open('publisher', device, { onAcknowledged: () => acknowledged.add(1) });
    const subscriber = await open('subscriber', 'ms-acc-1', {
      filters: [topic],
      onMessage: ({ payload }) => {
        arrived.push(payload.toString());
        count.add(1);
      },
    });
    await subscriber.open();
    await subscriber.settled();
    subscriber.drop();
    // Its last commit is over then, before the publisher's first.
    await current.journal.until('connection.closed', { clientId: `subscriber ${index}` });
    await publisher.open();
    if (side === 'publisher') {
      if (seen === undefined && when !== 'answered') faults.begin(when); // the next sync is of this PUBLISH
      publisher.publish(topic, 'once', qos);
    } else {
      publisher.publish(topic, 'once', qos);
      await acknowledged.until(1);
      await publisher.settled();
      await subscriber.open();
    }
    await current.died();
    isDying = false;
    current = await restarted();
    await Promise.all([publisher.lost(), subscriber.lost()]);
    await publisher.open();
    await subscriber.open();
    publisher.publish(topic, 'last', qos);
    while (arrived.at(-1) !== 'last') await count.until(arrived.length + 1);
    assert.deepEqual(qos === 2 ? arrived : [...new Set(arrived)], ['once', 'last']);
    assert.deepEqual([publisher.forgotten, subscriber.forgotten], [0, 0]);
    publisher.drop();
    subscriber.drop();
  });
}

/**
 * The broker dies at every step of the exchanges of QoS 1 and 2. Each of a dozen clients is brought to another step, and
 * then all go on while the broker is stopped (SIGSTOP): so it reads all of their packets in one turn, which is one commit,
 * and dies right before, or right after, that commit is synced.
 */
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { Packet, PacketCmd } from 'mqtt-packet';
import { Store } from '../../../broker/store/store.ts';
import { ExactClient } from '../../../soak/exact-client.ts';
import type { ExactClientOptions } from '../../../soak/exact-client.ts';
import type { BrokerProcess } from '../broker-process.ts';
import { killBrokerProcesses, startBrokerProcess } from '../broker-process.ts';
import type { Site } from '../fixture.ts';
import { Progress, openSite } from '../fixture.ts';
import { DiskFaults } from './disk-faults.ts';

let site: Site;
let faults: DiskFaults;
before(() => {
  site = openSite();
  faults = new DiskFaults(site.directory);
});
after(async () => {
  await killBrokerProcesses();
  await site.remove();
});

/** Where a client is when the broker dies: the last packet that it has got. */
interface Step {
  readonly side: 'publisher' | 'subscriber';
  readonly qos: 1 | 2;
  /** Undefined: none yet of this message. */
  readonly seen: PacketCmd | undefined;
  readonly name: string;
  /** Messages in the queue once the broker has what comes next. */
  readonly queued: number;
}

const steps: readonly Step[] = [
  { side: 'publisher', qos: 1, seen: undefined, name: 'PUBLISH', queued: 1 },
  { side: 'publisher', qos: 2, seen: undefined, name: 'PUBLISH', queued: 1 },
  { side: 'publisher', qos: 2, seen: 'pubrec', name: 'PUBREL', queued: 1 },
  { side: 'subscriber', qos: 1, seen: 'publish', name: 'PUBACK', queued: 0 },
  { side: 'subscriber', qos: 2, seen: 'publish', name: 'PUBREC', queued: 1 },
  { side: 'subscriber', qos: 2, seen: 'pubrel', name: 'PUBCOMP', queued: 0 },
];

/** Steps at which a client has its answer and the broker hears no more of it. */
const answered: readonly Step[] = [
  { side: 'publisher', qos: 1, seen: 'puback', name: 'after PUBACK', queued: 1 },
  { side: 'publisher', qos: 2, seen: 'pubcomp', name: 'after PUBCOMP', queued: 1 },
  { side: 'subscriber', qos: 1, seen: 'publish', name: 'after PUBLISH', queued: 1 },
  { side: 'subscriber', qos: 2, seen: 'publish', name: 'after PUBLISH', queued: 1 },
  { side: 'subscriber', qos: 2, seen: 'pubrel', name: 'after PUBREL', queued: 1 },
];

/** One message from a device to somebody whose session is stored, up to one step of its exchange. */
class Exchange {
  readonly step: Step;
  readonly #name: string;
  readonly #device: string;
  readonly #topic: string;
  readonly #arrived: string[] = [];
  readonly #acknowledged = new Progress();
  readonly #came = new Progress();
  readonly #reached = new Progress();
  #isWatched = true;
  #publisher: ExactClient | undefined;
  #subscriber: ExactClient | undefined;

  constructor(step: Step, index: number) {
    this.step = step;
    this.#name = `QoS ${step.qos} of a ${step.side}, ${step.name}`;
    this.#device = `ms-acc-1/acc-1/dev-${index}`;
    this.#topic = `${this.#device}/snapshots`;
  }

  get subscriberId(): string {
    return `subscriber ${this.#device}`;
  }

  /** Resolves when its client holds what it is to answer next. */
  async reach(broker: BrokerProcess): Promise<void> {
    const { side, qos, seen } = this.step;
    this.#publisher = await this.#client(broker, 'publisher', this.#device, {
      onAcknowledged: () => this.#acknowledged.add(1),
    });
    const subscriber = await this.#client(broker, 'subscriber', 'ms-acc-1', {
      filters: [this.#topic],
      onMessage: ({ payload }) => {
        this.#arrived.push(payload.toString());
        this.#came.add(1);
      },
    });
    this.#subscriber = subscriber;
    await subscriber.open();
    await subscriber.settled();
    subscriber.drop();
    await broker.journal.until('connection.closed', { clientId: this.subscriberId });
    await this.#publisher.open();
    if (seen === undefined) return;
    this.#publisher.publish(this.#topic, 'once', qos);
    if (side === 'subscriber') {
      await this.#acknowledged.until(1);
      await this.#publisher.settled();
      await subscriber.open();
    }
    await this.#reached.until(1);
  }

  /** Sends the packet in question. */
  async goOn(): Promise<void> {
    const { side, seen, qos } = this.step;
    if (seen !== undefined) return (side === 'publisher' ? this.#publisher : this.#subscriber)?.proceed();
    this.#publisher?.publish(this.#topic, 'once', qos);
    return this.#publisher?.written();
  }

  /** Nothing was lost, and nothing comes twice at QoS 2. */
  async requireWhole(): Promise<void> {
    const [publisher, subscriber] = [this.#publisher, this.#subscriber];
    assert(publisher && subscriber);
    this.#isWatched = false;
    await Promise.all([publisher.lost(), subscriber.lost()]);
    await publisher.open();
    await subscriber.open();
    publisher.publish(this.#topic, 'last', this.step.qos);
    while (this.#arrived.at(-1) !== 'last') await this.#came.until(this.#came.value + 1);
    const arrived = this.step.qos === 2 ? this.#arrived : [...new Set(this.#arrived)];
    assert.deepEqual(arrived, ['once', 'last'], this.#name);
    assert.deepEqual([publisher.forgotten, subscriber.forgotten], [0, 0], this.#name);
    publisher.drop();
    subscriber.drop();
  }

  async #client(
    { port }: BrokerProcess,
    of: Step['side'],
    identity: string,
    more: Partial<ExactClientOptions>,
  ): Promise<ExactClient> {
    const tls = await site.credentials(identity);
    const { qos } = this.step;
    const onPacket = (packet: Packet): boolean =>
      !this.#isWatched || this.step.side !== of || this.#look(packet);
    return new ExactClient({ port, tls, clientId: `${of} ${this.#device}`, qos, ...more, onPacket });
  }

  #look({ cmd }: Packet): boolean {
    if (cmd !== this.step.seen) return true;
    this.#reached.add(1);
    // A publisher that has its last answer says nothing more.
    return cmd === 'puback' || cmd === 'pubcomp';
  }
}

function start(name: string, port: number): Promise<BrokerProcess> {
  const settings = { limits: { perIdentity: { sessionsMax: 100 } } };
  return startBrokerProcess(site, name, { port, settings, environment: faults.environment });
}

/** @returns what a dead broker has on disk: messages in each queue by client id, and QoS 2 messages without their release */
function stateOf(name: string): { queued: Map<string, number>; incoming: number } {
  const directory = path.join(site.directory, `${name}-copy`);
  cpSync(path.join(site.directory, name, 'data'), directory, { recursive: true });
  const store = new Store({ directory, durability: 'os', onFirstWrite: () => undefined });
  const sizes = new Map(store.queueSizes().map(({ session, messages }) => [session, messages]));
  const queued = new Map(store.sessions().map(({ id, clientId }) => [clientId, sizes.get(id) ?? 0]));
  const incoming = store.incoming().length;
  store.close();
  return { queued, incoming };
}

for (const when of ['before', 'after'] as const) {
  test(`kill -9 right ${when} the sync for each packet of QoS 1 and 2: nothing is lost, nor twice at QoS 2`, async () => {
    const name = `exchange-${when}`;
    const broker = await start(name, 0);
    const exchanges = steps.map((step, index) => new Exchange(step, index));
    for (const exchange of exchanges) await exchange.reach(broker);
    await quiet(broker);
    await broker.suspend();
    for (const exchange of exchanges) await exchange.goOn();
    await broker.unread(exchanges.length);
    faults.begin(when);
    broker.resume();
    await broker.died();
    faults.end();
    // It had read all of them: the commit was written, and the system keeps what a process has written.
    const { queued, incoming } = stateOf(name);
    for (const { step, subscriberId } of exchanges) {
      assert.equal(queued.get(subscriberId), step.queued, `${subscriberId}, ${step.name}`);
    }
    assert.equal(incoming, 1); // of PUBLISH; that which PUBREL ends is gone
    const again = await start(name, broker.port);
    for (const exchange of exchanges) await exchange.requireWhole();
    await again.kill();
  });
}

test('kill -9 once a client has its answer, at each step of QoS 1 and 2: nothing is lost, nor twice at QoS 2', async () => {
  const broker = await start('answered', 0);
  const exchanges = answered.map((step, index) => new Exchange(step, index));
  for (const exchange of exchanges) await exchange.reach(broker);
  await broker.kill();
  const again = await start('answered', broker.port);
  for (const exchange of exchanges) await exchange.requireWhole();
  await again.kill();
});

/** What nobody waits for is committed with what somebody does, so nothing is left to commit when this resolves. */
async function quiet({ port }: BrokerProcess): Promise<void> {
  const client = new ExactClient({ port, tls: await site.credentials('ms-acc-2'), clientId: 'quiet' });
  await client.open(); // answered once the session is on disk
  await client.settled();
}

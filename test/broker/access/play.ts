/** Plays a history against a broker, and compares what everybody gets with what the model says that they are owed. */
import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import type { IConnectPacket } from 'mqtt-packet';
import { rolesWith } from '../../../broker/access/roles.ts';
import type { RawClient } from '../fixture.ts';
import { AccessModel } from './access-model.ts';
import type { Owed, Party, Will } from './access-model.ts';
import type { Cast, Step } from './histories.ts';
import { filterOf, roleTables, topicOf } from './histories.ts';

/** The broker of one history. */
export interface House {
  connect(identity: string, version: 4 | 5): Promise<RawClient<Duplex>>;
  changeRights(table: number, how: 'reload' | 'restart'): Promise<void>;
  /** Longer than any will's delay. */
  wait(): Promise<void>;
}

type StepOf<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>;

const willDelaySeconds = 50;

export class Play {
  readonly #house: House;
  readonly #model: AccessModel;
  readonly #clients = new Map<Party, RawClient<Duplex>>();
  readonly #aliases = new Map<Party, Map<number, string>>();
  #messages = 0;
  /** What there was to see, so that nobody mistakes silence for success. */
  readonly seen = { delivered: 0, denied: 0 };

  constructor(house: House, cast: Cast) {
    this.#house = house;
    const parties = cast.map((one): Party => ({
      ...one,
      isConnected: false,
      subscriptions: new Map(),
      owed: [],
      will: undefined,
    }));
    this.#model = new AccessModel(rolesWith(roleTables[0] ?? {}), parties);
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const party of this.#model.parties) await this.#connect(party, undefined);
    for (const one of steps) await this.#take(one);
    for (const party of this.#model.parties) {
      if (!party.isConnected) await this.#connect(party, undefined);
    }
    for (const party of this.#model.parties) await this.#settle(party);
    assert.equal(this.#model.unsettled(), undefined);
    for (const client of this.#clients.values()) client.socket.destroy();
  }

  async #take(one: Step): Promise<void> {
    if (one.kind === 'wait') {
      await this.#house.wait();
      return this.#model.timePassed();
    }
    if (one.kind === 'change rights') return this.#changeRights(one);
    const party = this.#model.parties[one.who];
    assert(party);
    if (one.kind === 'connect') return this.#connectAgain(party, one);
    if (!party.isConnected) return undefined;
    switch (one.kind) {
      case 'subscribe':
        return this.#subscribe(party, one);
      case 'subscribe malformed':
        return this.#lose(party, () => this.#sendSubscribe(party, [one.filter], 1));
      case 'publish':
        return this.#publish(party, one);
      case 'lose':
        // What neither version allows.
        return this.#lose(party, () =>
          this.#clientOf(party).sendHex(party.version === 5 ? 'f0 00' : 'c1 00'),
        );
      case 'leave':
        return this.#leave(party);
    }
  }

  async #connectAgain(party: Party, { will: asked }: StepOf<'connect'>): Promise<void> {
    if (party.isConnected) await this.#settle(party);
    const will = asked && {
      topic: topicOf(asked.place, party.identity),
      payload: `will ${this.#messages++}`,
      isDelayed: asked.isDelayed && party.version === 5,
    };
    const before = this.#clients.get(party);
    const isTakeover = party.isConnected;
    await this.#connect(party, will ?? undefined);
    if (isTakeover && this.#clients.get(party) !== before) await before?.closed;
  }

  async #connect(party: Party, will: Will | undefined): Promise<void> {
    const { identity, clientId, version } = party;
    const client = await this.#house.connect(identity, version);
    const { returnCode, reasonCode } = await client.open({
      clientId,
      clean: false,
      ...(version === 5 ? { properties: { sessionExpiryInterval: 1_000_000 } } : {}),
      ...(will === undefined ? {} : { will: willPacket(will) }),
    });
    const mayHaveWill = will === undefined || this.#model.mayPublish(party, will.topic);
    assert.equal((reasonCode ?? returnCode) === 0, mayHaveWill, `${identity} with a will on ${will?.topic}`);
    if (!mayHaveWill) {
      this.seen.denied++;
      return;
    }
    this.#clients.set(party, client);
    this.#aliases.set(party, new Map());
    this.#model.connected(party, will);
  }

  async #subscribe(party: Party, { filters: shapes, qos }: StepOf<'subscribe'>): Promise<void> {
    const filters = shapes.map((shape) => filterOf(shape, party.identity));
    this.#sendSubscribe(party, filters, qos);
    const { granted } = await this.#clientOf(party).next('suback');
    for (const [index, filter] of filters.entries()) {
      const isGranted = this.#model.subscribe(party, filter, qos);
      if (!isGranted) this.seen.denied++;
      assert.equal(Number(granted[index]) < 0x80, isGranted, `${party.identity} subscribes ${filter}`);
    }
  }

  #sendSubscribe(party: Party, filters: readonly string[], qos: 0 | 1 | 2): void {
    const subscriptions = filters.map((topic) => ({ topic, qos }));
    this.#clientOf(party).send({ cmd: 'subscribe', messageId: 1, subscriptions });
  }

  async #publish(party: Party, { place, qos, retain, alias, useAlias }: StepOf<'publish'>): Promise<void> {
    const client = this.#clientOf(party);
    const aliases = this.#aliases.get(party);
    const topicAlias = party.version === 5 && alias !== null ? alias : undefined;
    const known = useAlias && topicAlias !== undefined ? aliases?.get(topicAlias) : undefined;
    const topic = known ?? topicOf(place, party.identity);
    if (topicAlias !== undefined) aliases?.set(topicAlias, topic);
    const payload = String(this.#messages++);
    const mayPublish = this.#model.mayPublish(party, topic);
    client.send({
      cmd: 'publish',
      topic: known === undefined ? topic : '',
      payload,
      qos,
      retain,
      dup: false,
      messageId: 5,
      ...(topicAlias === undefined ? {} : { properties: { topicAlias } }),
    });
    if (mayPublish) this.#model.publish(topic, payload, qos, retain);
    else this.seen.denied++;
    if (qos === 0) return void (await client.settled());
    const { reasonCode = 0 } = await client.next(qos === 1 ? 'puback' : 'pubrec');
    // MQTT 3.1.1 cannot say no.
    const isRefused = party.version === 5 && !mayPublish;
    assert.equal(reasonCode >= 0x80, isRefused, `${party.identity} publishes ${topic}`);
    if (qos === 1 || isRefused) return undefined;
    client.send({ cmd: 'pubrel', messageId: 5, ...(party.version === 5 ? { reasonCode: 0 } : {}) });
    await client.next('pubcomp');
    return undefined;
  }

  async #lose(party: Party, offend: () => void): Promise<void> {
    await this.#settle(party);
    offend();
    await this.#clientOf(party).closed;
    this.#model.lost(party);
  }

  async #leave(party: Party): Promise<void> {
    await this.#settle(party);
    this.#clientOf(party).send({ cmd: 'disconnect', ...(party.version === 5 ? { reasonCode: 0 } : {}) });
    await this.#clientOf(party).closed;
    this.#model.left(party);
  }

  async #changeRights({ table, how }: StepOf<'change rights'>): Promise<void> {
    for (const party of this.#model.parties) {
      if (!party.isConnected) continue;
      if (how === 'restart') await this.#leave(party);
      else await this.#settle(party);
    }
    await this.#house.changeRights(table, how);
    this.#model.rightsChanged(rolesWith(roleTables[table] ?? {}));
  }

  async #settle(party: Party): Promise<void> {
    const received = await receiveAll(this.#clientOf(party));
    this.seen.delivered += received.length;
    assert.equal(this.#model.settle(party, received), undefined);
  }

  #clientOf(party: Party): RawClient<Duplex> {
    const client = this.#clients.get(party);
    assert(client);
    return client;
  }
}

/** Acknowledges all that comes, until nothing more does. */
async function receiveAll(client: RawClient<Duplex>): Promise<Owed[]> {
  const received: Owed[] = [];
  for (;;) {
    const packets = [...(await client.settled())];
    client.packets.length = 0;
    let isOver = true;
    for (const packet of packets) {
      if (packet.cmd === 'publish') {
        const { topic, payload, qos, messageId = 0 } = packet;
        received.push({ topic, payload: payload.toString() });
        if (qos > 0) client.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId, reasonCode: 0 });
        isOver &&= qos === 0;
      } else if (packet.cmd === 'pubrel') {
        client.send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0, reasonCode: 0 });
        isOver = false;
      }
    }
    if (isOver) return received;
  }
}

function willPacket({ topic, payload, isDelayed }: Will): NonNullable<IConnectPacket['will']> {
  return {
    topic,
    payload: Buffer.from(payload),
    qos: 1,
    retain: false,
    ...(isDelayed ? { properties: { willDelayInterval: willDelaySeconds } } : {}),
  };
}

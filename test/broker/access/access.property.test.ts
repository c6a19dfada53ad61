/** Random histories of clients of both versions against the access rules: nothing reaches whom it must not. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { defaultRoles } from '../../../broker/access/roles.ts';
import { innerFilter, isShared } from '../../../broker/access/shared-filter.ts';
import { isAllowed } from '../../../broker/access/tacs.ts';
import { filterCovers } from '../../../domain/topic.ts';
import type { RunningBroker } from '../../../broker/main.ts';
import type { RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

let site: Site;
let broker: RunningBroker;
before(async () => {
  site = openSite();
  ({ broker } = await site.start({ limits: { perIdentity: { sessionsMax: 10_000, connectionsMax: 10_000 } } }));
});
after(() => site.remove());

const identities = [
  'ms-acc-1',
  'ms-acc-1/acc-1',
  'ms-acc-1/acc-1/dev-1',
  'ms-acc-10',
  'MRO-Admin',
  'vendor-snapshot-service',
];
const topics = [
  'ms-acc-1',
  'ms-acc-1/acc-1',
  'ms-acc-1/acc-1/dev-1/snapshots',
  'ms-acc-1/acc-1/dev-1/commands',
  'ms-acc-10/acc-1/dev-1/snapshots',
  'vendor/crl/tls',
];
const plainFilters = [
  ...topics,
  '#',
  '+/#',
  '+/+/+/snapshots',
  'ms-acc-1/#',
  'ms-acc-1/acc-1/#',
  'ms-acc-10/#',
  'ms-acc-1/acc-1/+/snapshots',
];
const filters = [
  ...plainFilters,
  ...plainFilters.map((filter) => `$share/g/${filter}`),
  '$share/g',
  '$share//#',
  '$share/+/#',
  '$share/g/$share/g/#',
  '$SYS/#',
  'ms-acc-1/a#',
];

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('subscribe' as const),
      who: fc.nat(5),
      filter: fc.constantFrom(...filters),
      qos: fc.constantFrom(0, 1, 2),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      who: fc.nat(5),
      topic: fc.nat(5),
      alias: fc.option(fc.constant(1)),
      useAlias: fc.boolean(),
      qos: fc.constantFrom(0, 1, 2),
      retain: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('will' as const), who: fc.nat(5), topic: fc.nat(5) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reconnect' as const), who: fc.nat(5) }) },
);

/** One client, and what it may have been sent. */
interface Party {
  readonly identity: string;
  readonly version: 4 | 5;
  client: RawClient;
  readonly granted: Set<string>;
  readonly aliases: Map<number, string>;
}

let histories = 0;

async function connect(identity: string, version: 4 | 5, will?: string): Promise<RawClient | undefined> {
  const client = await site.rawConnect(broker, identity, version);
  const { reasonCode, returnCode } = await client.open({
    // The same for all of them: it must be nobody's business but its own identity's.
    clientId: `history-${histories}`,
    clean: false,
    ...(version === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
    ...(will === undefined
      ? {}
      : { will: { topic: will, payload: Buffer.from(will), qos: 1, retain: false } }),
  });
  return (reasonCode ?? returnCode) === 0 ? client : undefined;
}

async function lose({ client, version }: Party): Promise<void> {
  client.sendHex(version === 5 ? 'f0 00' : 'c1 00');
  await client.closed;
}

/** Looks at all that came: the payload of every message is the topic that it was published to. */
async function check(party: Party): Promise<void> {
  const { identity, client, granted } = party;
  const packets = [...(await client.settled())];
  client.packets.length = 0;
  for (const packet of packets) {
    if (packet.cmd !== 'publish') continue;
    const topic = packet.topic;
    if (!topic.startsWith('$SYS/')) assert.equal(packet.payload.toString(), topic);
    assert(isAllowed(identity, 'subscribe', topic, defaultRoles), `${identity} got ${topic}`);
    assert(
      [...granted].some((filter) => filterCovers(filter, topic)),
      `${identity} never asked for ${topic}`,
    );
  }
}

test('access: over subscriptions, shares, aliases, wills, reconnects and one client id for all, nobody gets what is not his', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 60 }),
      fc.nat(63),
      async (steps, versions) => {
        histories++;
        const parties: Party[] = [];
        for (const [index, identity] of identities.entries()) {
          const version = ((versions >> index) & 1) === 0 ? 4 : 5;
          const client = await connect(identity, version);
          assert(client);
          parties.push({ identity, version, client, granted: new Set(), aliases: new Map() });
        }
        for (const one of steps) {
          const party = parties[one.who];
          assert(party);
          const { identity, version } = party;
          if (one.kind === 'subscribe') {
            const { filter, qos } = one;
            const { client } = party;
            client.send({
              cmd: 'subscribe',
              messageId: 1,
              subscriptions: [{ topic: filter, qos: qos === 2 ? 2 : qos === 1 ? 1 : 0 }],
            });
            const [code] = (await client.next('suback')).granted;
            const asked = isShared(filter) ? innerFilter(filter) : filter;
            const isGranted = asked !== undefined && isAllowed(identity, 'subscribe', asked, defaultRoles);
            assert.equal(Number(code) < 0x80, isGranted, `${identity} ${filter}`);
            if (isGranted) party.granted.add(asked);
          } else if (one.kind === 'publish') {
            const name = topics[one.topic] ?? '';
            const alias = version === 5 && one.alias !== null ? one.alias : undefined;
            const known = alias === undefined ? undefined : party.aliases.get(alias);
            const isByAlias = one.useAlias && known !== undefined;
            const topic = isByAlias ? known : name;
            if (alias !== undefined) party.aliases.set(alias, topic);
            const isGranted = isAllowed(identity, 'publish', topic, defaultRoles);
            // With 3.1.1 a denied one ends the connection; that is tested elsewhere.
            if (!isGranted && version === 4) continue;
            party.client.send({
              cmd: 'publish',
              topic: isByAlias ? '' : topic,
              payload: topic,
              qos: one.qos === 2 ? 2 : one.qos === 1 ? 1 : 0,
              dup: false,
              retain: one.retain,
              messageId: 5,
              ...(alias === undefined ? {} : { properties: { topicAlias: alias } }),
            });
            if (one.qos === 0) continue;
            const answer = await party.client.next(one.qos === 1 ? 'puback' : 'pubrec');
            assert.equal((answer.reasonCode ?? 0) < 0x80, isGranted, `${identity} ${topic}`);
            if (one.qos !== 2 || !isGranted) continue;
            party.client.send({ cmd: 'pubrel', messageId: 5, ...(version === 5 ? { reasonCode: 0 } : {}) });
            await party.client.next('pubcomp');
          } else {
            await check(party);
            await lose(party);
            const will = one.kind === 'will' ? topics[one.topic] : undefined;
            party.aliases.clear();
            const client = await connect(identity, version, will);
            const mayHave = will === undefined || isAllowed(identity, 'publish', will, defaultRoles);
            assert.equal(client !== undefined, mayHave, `${identity} ${will}`);
            party.client = client ?? (await connect(identity, version)) ?? party.client;
          }
        }
        for (const party of parties) await check(party);
        for (const party of parties) party.client.socket.destroy();
      },
    ),
    { numRuns: 40 },
  );
});

/** What somebody who may only be enrolled can do at a broker: ask, be answered, and nothing else. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { PeerVerifier } from '../../../broker/access/identity.ts';
import { defaultRoles, rolesWith } from '../../../broker/access/roles.ts';
import { decideFilter } from '../../../broker/access/shared-filter.ts';
import { isAllowed } from '../../../broker/access/tacs.ts';
import type { RunningBroker } from '../../../broker/main.ts';
import { isTopicFilter } from '../../../domain/topic.ts';
import { certificatesToPem } from '../../../pki/certificate.ts';
import { enrolmentPurpose } from '../../../pki/extensions.ts';
import { privateKeyToPem } from '../../../pki/private-key.ts';
import { RevocationIndex } from '../../../pki/revocation.ts';
import { clientAuth, rogueCertificate, stolenAuthority } from '../../pki/rogue-authority.ts';
import type { RogueRequest } from '../../pki/rogue-authority.ts';
import type { RawClient, Site } from '../fixture.ts';
import { openSite } from '../fixture.ts';

const dayMs = 86_400_000;
const device = 'ms-acc-1/acc-1/dev-1';
const own = `${device}/enrolment`;
const factory = 'vendor/enrolment/vendor-factory-1';

let site: Site;
let broker: RunningBroker;
before(async () => {
  site = openSite();
  await site.identity(device);
  ({ broker } = await site.start());
});
after(() => site.remove());

/** A client with a certificate of the device's own account, as the account's CA never issues them. */
async function connectAs(request: RogueRequest): Promise<RawClient> {
  const account = stolenAuthority(site.authority, 'tls', 'ms-acc-1/acc-1');
  const master = stolenAuthority(site.authority, 'tls', 'ms-acc-1');
  const { certificate, key } = rogueCertificate({ issuer: account, commonName: device, ...request });
  return site.rawConnectWith(broker.port, {
    key: privateKeyToPem(key),
    cert: certificatesToPem([certificate, account.certificate, master.certificate]),
    ca: certificatesToPem([site.authority.roots.tls]),
  });
}

const expired: RogueRequest = {
  extendedKeyUsage: [clientAuth],
  notBeforeMs: Date.now() - 10 * dayMs,
  notAfterMs: Date.now() - dayMs,
};
const bootstrap: RogueRequest = { extendedKeyUsage: [clientAuth, enrolmentPurpose] };

const level = fc.constantFrom(
  ...device.split('/'),
  'vendor',
  'enrolment',
  'reply',
  'approval',
  'vendor-factory-1',
  '+',
  '#',
);
const anyTopic = fc.oneof(
  fc.array(level, { minLength: 1, maxLength: 6 }).map((levels) => levels.join('/')),
  fc.constantFrom(
    own,
    `${own}/reply`,
    `${own}/approval`,
    device,
    '$SYS/#',
    'vendor/crl/tls',
    'vendor/recipients',
  ),
);

test('isAllowed: who may only be enrolled writes one topic and reads one, whatever a role says', () => {
  const everything = { publish: ['#'], subscribe: ['#', '$SYS/#'] };
  const roles = [defaultRoles, rolesWith({ [own]: everything, [factory]: everything })];
  fc.assert(
    fc.property(
      fc.constantFrom(own, factory),
      anyTopic,
      fc.constantFrom(...roles),
      (identity, topic, table) => {
        assert.equal(isAllowed(identity, 'publish', topic, table), topic === identity);
        assert.equal(isAllowed(identity, 'subscribe', topic, table), topic === `${identity}/reply`);
        assert.equal(
          decideFilter(identity, `$share/g/${topic}`, table).allowed,
          topic === `${identity}/reply`,
        );
      },
    ),
    { numRuns: 2_000 },
  );
});

test('isAllowed: an enrolment topic is nobody unless it is one', () => {
  for (const identity of [`${own}/reply`, `${own}/approval`, 'vendor/enrolment/vendor-crl-service']) {
    for (const topic of [identity, `${identity}/reply`, own]) {
      assert(!isAllowed(identity, 'publish', topic, defaultRoles), identity);
      assert(!isAllowed(identity, 'subscribe', topic, defaultRoles), identity);
    }
  }
});

test('isAllowed: the enrolment service reads requests and approvals, and writes replies alone', () => {
  const service = 'vendor-enrolment-service';
  for (const base of [own, factory]) {
    for (const [topic, mayWrite, mayRead] of [
      [base, false, true],
      [`${base}/approval`, false, true],
      [`${base}/reply`, true, false],
    ] as const) {
      assert.equal(isAllowed(service, 'publish', topic, defaultRoles), mayWrite, topic);
      assert.equal(isAllowed(service, 'subscribe', topic, defaultRoles), mayRead, topic);
    }
  }
});

for (const [what, request] of [
  ['a bootstrap certificate', bootstrap],
  ['an expired certificate of a device', expired],
] as const) {
  test(`broker: ${what} publishes the request, reads the reply, and nothing else`, async () => {
    const client = await connectAs(request);
    assert.equal((await client.open({ clientId: 'a' })).returnCode, 0);
    const service = await site.connect(broker, 'vendor-enrolment-service');
    await service.subscribeAsync('+/+/+/enrolment', { qos: 1 });
    client.send({
      cmd: 'publish',
      topic: own,
      payload: 'request',
      qos: 1,
      dup: false,
      retain: false,
      messageId: 1,
    });
    await client.next('puback');
    assert.deepEqual(await site.received(service).count(1), [`${own}=request`]);

    // What there is to be read by others.
    const admin = await site.connect(broker, 'MRO-Admin');
    for (const topic of ['vendor/crl/tls', `${device}/snapshots`, `${own}/approval`, `${device}/policy`])
      await admin.publishAsync(topic, 'secret', { qos: 1, retain: true });
    const filters = fc.sample(anyTopic, 200).filter(isTopicFilter);
    const asked = [...filters, ...filters.map((filter) => `$share/g/${filter}`)].map((topic) => ({
      topic,
      qos: 1 as const,
    }));
    for (let at = 0; at < asked.length; at += 50) {
      client.send({ cmd: 'subscribe', messageId: 2, subscriptions: asked.slice(at, at + 50) });
      const { granted } = await client.next('suback');
      for (const [index, code] of granted.entries()) {
        const wanted = asked[at + index]?.topic.replace('$share/g/', '') === `${own}/reply`;
        assert.equal(code === 128, !wanted, asked[at + index]?.topic);
      }
    }
    await admin.publishAsync(`${device}/commands`, 'secret', { qos: 1 });
    assert.deepEqual(
      (await client.settled()).filter(({ cmd }) => cmd === 'publish'),
      [],
    );
    client.send({ cmd: 'subscribe', messageId: 3, subscriptions: [{ topic: `${own}/reply`, qos: 1 }] });
    assert.deepEqual((await client.next('suback')).granted, [1]);
    await service.publishAsync(`${own}/reply`, 'reply', { qos: 1 });
    assert.equal(String((await client.next('publish')).payload), 'reply');
    // A denied publish ends the connection of an MQTT 3.1.1 client.
    client.send({
      cmd: 'publish',
      topic: `${device}/snapshots`,
      payload: 'forged',
      qos: 0,
      dup: false,
      retain: false,
    });
    await client.closed;
  });

  test(`broker: ${what} has no will but the request`, async () => {
    const will = { payload: Buffer.from('forged'), qos: 0 as const, retain: true };
    for (const [topic, returnCode] of [
      [`${device}/status`, 5],
      [`${own}/reply`, 5],
      [own, 0],
    ] as const) {
      const client = await connectAs(request);
      assert.equal(
        (await client.open({ clientId: 'b', will: { topic, ...will } })).returnCode,
        returnCode,
        topic,
      );
      if (returnCode === 0) client.send({ cmd: 'disconnect' });
      else await client.closed;
    }
  });
}

test("broker: a device's session is not that of whoever is to be enrolled in its name", async () => {
  const full = await site.rawConnect(broker, device);
  await full.open({ clientId: 'agent', clean: false });
  const scoped = await connectAs(bootstrap);
  const connack = await scoped.open({ clientId: 'agent', clean: false });
  assert.equal(connack.sessionPresent, false);
  await full.settled(); // not taken over
});

test('broker: a certificate that expired before the grace, or for another purpose, stays out', async () => {
  const long = { ...expired, notBeforeMs: Date.now() - 500 * dayMs, notAfterMs: Date.now() - 400 * dayMs };
  const late = { ...bootstrap, notBeforeMs: Date.now() - 2 * dayMs, notAfterMs: Date.now() - dayMs };
  for (const request of [long, late, { extendedKeyUsage: [enrolmentPurpose] }]) {
    await assert.rejects(connectAs(request).then((client) => client.open({ clientId: 'c' })));
  }
});

test('broker: an invitation that is revoked ends where it is used, and is not used again', async () => {
  const { tls } = await site.authority.invite({ path: device });
  const options = {
    key: privateKeyToPem(tls.key),
    cert: certificatesToPem(tls.chain),
    ca: certificatesToPem([site.authority.roots.tls]),
  };
  const client = await site.rawConnectWith(broker.port, options);
  assert.equal((await client.open({ clientId: 'd' })).returnCode, 0);
  const serials = tls.chain.slice(0, 1).map(({ serialNumber }) => serialNumber.toString('hex'));
  await site.authority.revoke({ target: { serials } });
  const service = await site.connect(broker, 'vendor-crl-service');
  const bundle = readFileSync(path.join(site.authority.directory, 'tls', 'crl.pem'));
  await service.publishAsync('vendor/crl/tls', bundle, { qos: 1, retain: true });
  await client.closed;
  const again = site.rawConnectWith(broker.port, options).then((one) => one.open({ clientId: 'd' }));
  await assert.rejects(again);
});

test('PeerVerifier: at its expiry a device becomes somebody who may be enrolled, until the grace is over', () => {
  const root = rogueCertificate({ commonName: 'root', ca: { pathLength: 2 } });
  const master = rogueCertificate({ issuer: root, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
  const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });
  const notAfterMs = Math.floor(Date.now() / 1000) * 1000;
  const leaf = rogueCertificate({
    issuer: account,
    commonName: device,
    extendedKeyUsage: [clientAuth],
    notAfterMs,
  });
  let nowMs = notAfterMs - 1;
  const verifier = new PeerVerifier({
    roots: [root.certificate],
    revocation: new RevocationIndex(),
    stalePolicy: { action: 'warn' },
    expiredGraceMs: 5 * dayMs,
    clock: () => nowMs,
  });
  const chain = [leaf, account, master].map(({ certificate }) => certificate.der);
  const ask = (atMs: number) => {
    nowMs = atMs;
    const { identity, validUntilMs } = verifier.verifyPresented(chain, false);
    return [identity, validUntilMs];
  };
  assert.deepEqual(ask(notAfterMs), [device, notAfterMs]);
  assert.deepEqual(ask(notAfterMs + 1), [own, notAfterMs + 5 * dayMs]);
  assert.deepEqual(ask(notAfterMs + 5 * dayMs), [own, notAfterMs + 5 * dayMs]);
  assert.throws(() => ask(notAfterMs + 5 * dayMs + 1), { code: 'pki.expired' });
});

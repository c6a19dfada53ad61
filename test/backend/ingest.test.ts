import assert from 'node:assert/strict';
import { encodeBrokerStatus } from '../../domain/broker-status.ts';
import { readBrokers } from '../../database/brokers.ts';
import { readDevice } from '../../database/fleet.ts';
import test from 'node:test';
import { readOriginator } from '../../backend/originators.ts';
import { restoreOriginators } from '../../backend/published-chains.ts';
import { OriginatorDirectory } from '../../cms/originator-directory.ts';
import { readDeadLetters } from '../../database/dead-letters.ts';
import { readLatest } from '../../database/latest.ts';
import { countSnapshots } from '../../database/totals.ts';
import { decodeDeviceCertificates } from '../../domain/device-certificates.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import { bundleOf } from '../pki/lists.ts';
import { bench, introduce, publish, receive } from './ingest-bench.ts';
import { Device, snapshotService, Vendor } from './vendor.ts';
import type { Sealed } from './vendor.ts';

const name = 'ms-acc-1/acc-1/dev-1';

test('Ingest: an envelope is stored before it is acknowledged, and once', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  await introduce(on, device);
  const sealed = device.snapshot(1, [{ channel: 'oil.temperature', unit: 'Cel', value: 81.5 }]);
  await publish(on, sealed);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 1, duplicated: 0 });
  await Promise.all([publish(on, sealed), publish(on, sealed)]);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 1, duplicated: 0 });
  const [latest] = await readLatest(on.database, name);
  assert.deepEqual([latest?.channel, latest?.unit, latest?.value], ['oil.temperature', 'Cel', 81.5]);
  assert.deepEqual([on.measures.tally.stored, on.measures.tally.redelivered], [1, 2]);
});

test('Ingest: what is refused is acknowledged, counted and kept with its reason, and the rest goes on', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  const other = await on.vendor.device('ms-acc-2/acc-1/dev-1');
  const stranger = new Device(device.path, device.identity, [other.identity.keyAgreement.certificate]);
  for (const one of [device, other]) await introduce(on, one);
  const genuine = device.snapshot(1);
  const flipped = Buffer.from(genuine.envelope);
  flipped.writeUInt8(flipped.readUInt8(flipped.length - 1) ^ 1, flipped.length - 1);
  const { notAfterMs } = device.identity.signature.certificate;
  const snapshots = `${device.path}/snapshots`;
  const ofUnknownType = encodeSenmlCbor(device.path, {
    timeMs: Date.now(),
    deviceType: 'x'.repeat(65),
    readings: [{ channel: 'a', value: 1 }],
  });
  const cases: readonly (readonly [string, Sealed])[] = [
    ['cms.malformed', { topic: snapshots, envelope: Buffer.from('nonsense') }],
    ['cms.malformed', { topic: snapshots, envelope: Buffer.alloc(0) }],
    ['cms.malformed', { topic: snapshots, envelope: genuine.envelope.subarray(0, -1) }],
    ['cms.rejected', { topic: snapshots, envelope: flipped }],
    ['cms.wrong_topic', { topic: `${other.path}/snapshots`, envelope: genuine.envelope }],
    ['foreign_originator', other.snapshot(9, undefined, { topic: snapshots })],
    ['cms.not_a_recipient', stranger.snapshot(2)],
    ['certificate_not_in_force', device.snapshot(3, undefined, { signingTimeMs: notAfterMs + 1000 })],
    ['unexpected_content', device.snapshot(4, undefined, { contentType: 'command+cbor' })],
    ['senml.malformed', device.seal(Buffer.from('not CBOR at all'), { sequence: 5 })],
    ['bad_sequence', device.snapshot(0)],
    ['bad_device_type', device.seal(ofUnknownType, { sequence: 6 })],
    ['unexpected_topic', device.snapshot(7, undefined, { topic: `${device.path}/firmware/progress` })],
  ];
  for (const [, sealed] of cases) await publish(on, sealed);
  await publish(on, genuine);
  const letters = (await readDeadLetters(on.database, '')).toReversed();
  assert.deepEqual(
    letters.map(({ reason }) => reason),
    cases.map(([reason]) => reason),
  );
  assert.deepEqual(
    letters.map(({ topic }) => topic),
    cases.map(([, { topic }]) => topic),
  );
  assert.equal(on.measures.tally.rejected['cms.malformed'], 3);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 1, duplicated: 0 });
});

test('Ingest: another envelope with a used sequence is kept as evidence', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  await introduce(on, device);
  await publish(on, device.snapshot(1));
  await publish(on, device.snapshot(1, [{ channel: 'fuel.flow', value: 2 }]));
  assert.deepEqual(
    (await readDeadLetters(on.database, '')).map(({ reason }) => reason),
    ['equivocation'],
  );
  assert.equal((await on.database.kysely.selectFrom('alarm').selectAll().execute()).length, 1);
});

test('Ingest: what came before its certificates is stored when they come', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  await publish(on, device.snapshot(1));
  await publish(on, device.snapshot(2));
  assert.deepEqual(
    (await readDeadLetters(on.database, '')).map(({ reason }) => reason),
    ['unknown_originator', 'unknown_originator'],
  );
  await introduce(on, device);
  await on.recorded.until(() => on.measures.tally.stored === 2);
  // The letters go after the commit; a third envelope is behind them.
  await publish(on, device.snapshot(3));
  assert.deepEqual(await readDeadLetters(on.database, ''), []);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 3, duplicated: 0 });
});

test('Subscriber: believes only what its own device published, below the pinned root', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  const elsewhere = new Vendor(context);
  await elsewhere.issue(snapshotService);
  const impostor = await elsewhere.device(name);
  const neighbour = await on.vendor.device('ms-acc-1/acc-1/dev-2');
  const topic = `${name}/certificates`;
  await receive(on, topic, impostor.certificates);
  await receive(on, topic, neighbour.certificates);
  await receive(on, topic, Buffer.from('nonsense'));
  await receive(on, topic, new Uint8Array());
  const kept = () => on.database.kysely.selectFrom('certificate').select(['kind', 'chain']).execute();
  assert.deepEqual(await kept(), []);
  assert.deepEqual(Object.keys(on.measures.tally.rejected).toSorted(), [
    'certificates.malformed',
    'pki.path_discipline',
    'pki.untrusted',
  ]);
  await receive(on, topic, device.certificates);

  const restored = new OriginatorDirectory(on.vendor.identity(snapshotService).roots);
  restoreOriginators(
    restored,
    (await kept()).map((row) => ({ ...row, path: name })),
    Date.now(),
    ({ kind }) => assert.fail(kind),
  );
  assert.ok(restored.newestOf(name)?.keyAgreement.der.equals(device.identity.keyAgreement.certificate.der));
  assert.equal(restored.publish(name, decodeDeviceCertificates(device.certificates), Date.now()), false);
});

test('Ingest: a renewed certificate opens new envelopes, and the former one those on their way', async (context) => {
  const on = await bench(context);
  const former = await on.vendor.device(name);
  const device = former.path;
  await introduce(on, former);
  const renewed = await on.vendor.device(name);
  const late = former.snapshot(1);
  await introduce(on, renewed);
  await publish(on, renewed.snapshot(2));
  await publish(on, late);
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 2, duplicated: 0 });
  const newest = await readOriginator(
    on.database,
    on.vendor.identity(snapshotService).roots,
    device,
    Date.now(),
  );
  assert.ok(newest?.keyAgreement.der.equals(renewed.identity.keyAgreement.certificate.der));
});

test('Ingest: what a revoked device sends is put aside as that, and nothing else of it', async (context) => {
  const on = await bench(context);
  const device = await on.vendor.device(name);
  const neighbour = await on.vendor.device('ms-acc-1/acc-1/dev-2');
  for (const one of [device, neighbour]) await introduce(on, one);
  const before = bundleOf(on.vendor.authority);
  await receive(on, 'vendor/crl/e2e', before);
  await publish(on, device.snapshot(1));
  await on.vendor.authority.revoke({ target: { path: name }, kinds: ['enc'] });
  await receive(on, 'vendor/crl/e2e', bundleOf(on.vendor.authority));
  await receive(on, 'vendor/crl/e2e', before); // a hostile broker repeats it
  await publish(on, device.snapshot(2));
  await publish(on, neighbour.snapshot(1));
  assert.deepEqual(
    (await readDeadLetters(on.database, '')).map(({ reason }) => reason),
    ['pki.revoked'],
  );
  assert.deepEqual(await countSnapshots(on.database, ''), { stored: 2, duplicated: 0 });
});

test('Ingest: where the policy is to refuse, what came before the lists is stored when they come', async (context) => {
  const on = await bench(context, { stalePolicy: { action: 'refuse' } });
  const device = await on.vendor.device(name);
  await publish(on, device.snapshot(1)); // waits for the certificates, and then for the lists
  await introduce(on, device);
  await publish(on, device.snapshot(2));
  assert.equal(on.measures.tally.stored, 0);
  await receive(on, 'vendor/crl/e2e', bundleOf(on.vendor.authority));
  await on.recorded.until(() => on.measures.tally.stored === 2);
  await publish(on, device.snapshot(3));
  assert.deepEqual(await readDeadLetters(on.database, ''), []);
});

test('Subscriber: what a broker says of itself is kept, of an account as of a master account', async (context) => {
  const on = await bench(context);
  const offline = Buffer.from(encodeBrokerStatus({ state: 'offline', name: 'hall' }));
  for (const path of ['ms-acc-1', 'ms-acc-1/acc-1']) await receive(on, `${path}/broker/status`, offline);
  await receive(on, 'ms-acc-2/broker/status', Buffer.from('nonsense'));
  await receive(on, 'ms-acc-1/broker/status', new Uint8Array());
  assert.deepEqual(
    (await readBrokers(on.database, '')).map(({ path, connection }) => [path, connection]),
    [
      ['ms-acc-1', 'offline'],
      ['ms-acc-1/acc-1', 'offline'],
    ],
  );
  assert.equal(on.measures.tally.rejected['malformed_status'], 1);
  // A device may have the same name as that level of the topic.
  const device = JSON.stringify({ state: 'online', agentVersion: '1' });
  await receive(on, 'ms-acc-1/acc-1/broker/status', Buffer.from(device));
  assert.equal((await readDevice(on.database, '', 'ms-acc-1/acc-1/broker'))?.connection, 'online');
});

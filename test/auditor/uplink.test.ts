import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { z } from 'zod';
import { auditorConfigType } from '../../auditor/config.ts';
import { startAuditor } from '../../auditor/main.ts';
import { envelopeDigest } from '../../cms/envelope.ts';
import { inspect } from '../../cms/inspect.ts';
import { createSealer } from '../../cms/seal.ts';
import { encodeDeviceCertificates } from '../../domain/device-certificates.ts';
import { encodeSenmlCbor } from '../../domain/senml.ts';
import { decodeSubmission } from '../../ledger/submission.ts';
import { loadE2eIdentity } from '../../pki/identity.ts';
import { openSite } from '../broker/fixture.ts';
import { devicePath } from '../device-agent/site.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';

const owner = 'ms-acc-1';
const device = devicePath('ms-acc-1/acc-1/dev-1');
const service = 'vendor-snapshot-service';
const stranger = 'vendor-command-service';
const topic = `${device}/snapshots`;
const reconnect = { firstMs: 5, maxMs: 50 };

test('enforce: over the uplink goes what the auditor released, under the topics that the vendor knows, and the head of the ledger', async (context) => {
  const site = openSite();
  context.after(() => site.remove());
  const keys = (name: string): string => path.join(site.directory, 'all-keys', name);
  for (const name of [owner, device, service, stranger]) {
    await site.authority.issue({ path: name, outputDirectory: keys(name) });
  }
  const { broker: vendor } = await site.start({ data: path.join(site.directory, 'vendor') });
  const { broker: customer } = await site.start(
    {
      identity: await site.identity(owner, ['127.0.0.1']),
      data: path.join(site.directory, 'customer'),
      cascade: { upstream: `127.0.0.1:${vendor.port}`, brokerName: 'vendor-broker', forward: 'released' },
    },
    { reconnect },
  );
  const uplink = await site.connect(vendor, service);
  const { promise: headShown, resolve } = Promise.withResolvers<Buffer>();
  const came: unknown[] = [];
  const { promise: lastCame, resolve: complete } = Promise.withResolvers<void>();
  uplink.on('message', (where, payload) => {
    if (where === `${owner}/ledger/head`) return resolve(payload);
    const { info, signers } = inspect(payload);
    came.push([where, info?.sequence, signers.length]);
    if (info?.sequence === 5) complete();
    return undefined;
  });
  await uplink.subscribeAsync(['+/+/+/snapshots', '+/ledger/head'], { qos: 1 });

  const recorded = new RecordedLog();
  const config = auditorConfigType({ path: z.string(), existingPath: z.string() }).parse({
    broker: `127.0.0.1:${customer.port}`,
    brokerName: owner,
    identity: keys(owner),
    data: path.join(site.directory, 'auditor'),
    mode: 'enforce',
    withoutPolicy: 'release',
    recipients: [owner, service].map((name) => path.join(keys(name), 'enc.chain.pem')),
    headEverySeconds: 0.1,
  });
  const auditor = await startAuditor(config, { log: recorded.log, reconnect });
  context.after(() => auditor.stop());
  await recorded.event('auditor.subscribed');

  const dev = await site.connect(customer, device);
  const own = loadE2eIdentity(keys(device));
  const certificates = encodeDeviceCertificates({
    signature: own.signature.chain.map(({ der }) => der),
    keyAgreement: own.keyAgreement.chain.map(({ der }) => der),
  });
  await dev.publishAsync(`${device}/certificates`, Buffer.from(certificates), { qos: 1, retain: true });
  const sealer = createSealer({ signature: own.signature, keyAgreement: own.keyAgreement });
  let previous: Buffer | undefined;
  for (let sequence = 1; sequence <= 5; sequence++) {
    const timeMs = Date.now();
    const readers = [service, owner, ...(sequence === 3 ? [stranger] : [])];
    previous = sealer.seal(
      encodeSenmlCbor(device, { timeMs, deviceType: 'T', readings: [{ channel: 'level', value: sequence }] }),
      readers.map((name) => loadE2eIdentity(keys(name)).keyAgreement.certificate),
      {
        topic,
        sequence,
        previousDigest: previous && envelopeDigest(previous),
        contentType: 'senml+cbor',
        signingTimeMs: timeMs,
      },
    ).envelope;
    await dev.publishAsync(topic, previous, { qos: 1 });
  }
  await lastCame;
  assert.deepEqual(
    came,
    [1, 2, 4, 5].map((sequence) => [topic, sequence, 2]),
  );
  const { head, from } = decodeSubmission(await headShown);
  assert.equal(from, 0);
  assert.match(head.origin, /^plombe\/ledger\/ms-acc-1\//);
});

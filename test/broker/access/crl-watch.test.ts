/** What a broker has learned of revocations stays known over its restarts, whatever is done to the retained message. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { bundlePath } from '../../../pki/authority/store.ts';
import { openSite } from '../fixture.ts';

const site = openSite();
after(() => site.remove());

const bundleFile = bundlePath(path.join(site.directory, 'pki'), 'tls');
const victim = 'ms-acc-7/acc-1/dev-1';

test('watchCrls: the newest lists count after a restart, also if an older one or none is retained or configured', async () => {
  await site.identity(victim);
  const old = readFileSync(bundleFile);
  const first = await site.start();
  await site.authority.revoke({ target: { path: victim } });
  const service = await site.connect(first.broker, 'vendor-crl-service');
  await service.publishAsync('vendor/crl/tls', readFileSync(bundleFile), { qos: 1, retain: true });
  await first.journal.until('crl.applied');
  await service.publishAsync('vendor/crl/tls', old, { qos: 1, retain: true });
  await first.journal.until('crl.refused', { reason: 'pki.crl_rollback' });
  await first.broker.stop();

  const second = await site.start();
  await second.journal.until('crl.refused', { reason: 'pki.crl_rollback' });
  await assert.rejects(site.connect(second.broker, victim));
  const again = await site.connect(second.broker, 'vendor-crl-service');
  await again.publishAsync('vendor/crl/tls', '', { qos: 1, retain: true });
  await second.broker.stop();

  const configured = path.join(site.directory, 'configured.pem');
  writeFileSync(configured, old);
  const third = await site.start({ crls: [configured] });
  await assert.rejects(site.connect(third.broker, victim));
  await third.journal.until('connection.refused', { identity: victim, reason: 'pki.revoked' });
  await third.broker.stop();

  writeFileSync(path.join(site.directory, 'data', 'tls-crl.pem'), 'damaged');
  await assert.rejects(site.start(), /tls-crl\.pem/);
});

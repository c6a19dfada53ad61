import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createAuthority, openAuthority } from '../../pki/authority/authority.ts';
import { crlsFromPem } from '../../pki/crl.ts';

const directory = mkdtempSync(join(tmpdir(), 'plombe-offline-root-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const dayMs = 86_400_000;

test('Authority: works without the keys of its roots, says when it needs them, and goes on when they are back', async () => {
  let clockMs = Date.now();
  const options = { directory, passphrase: 'secret', clock: () => clockMs };
  const online = createAuthority(options);
  const device = 'ms-acc-1/acc-1/dev-1';
  await online.issue({ path: device });
  await online.issueCrl({ authorities: ['root'], lifetimeMs: 100 * dayMs });
  const keys = ['tls', 'e2e'].map((pki) => join(directory, pki, 'root.key.pem'));
  for (const key of keys) renameSync(key, `${key}.elsewhere`);

  assert.throws(() => openAuthority({ ...options, passphrase: 'wrong' }), { code: 'pki.wrong_passphrase' });
  const authority = openAuthority(options);
  await authority.issue({ path: device });
  await authority.issue({ path: 'ms-acc-1/acc-2/dev-1' }); // its master account makes the CA
  await authority.issue({ path: 'vendor-broker' });
  await authority.revoke({ target: { path: device } });
  clockMs += 5 * dayMs;
  assert.deepEqual(await authority.issueCrl({ dueWithinMs: 3 * dayMs }), { issued: 8, offline: [] });
  clockMs += 93 * dayMs;
  const due = await authority.issueCrl({ dueWithinMs: 3 * dayMs });
  assert.deepEqual(due, { issued: 8, offline: ['tls root', 'e2e root'] });

  const before = authority.ledger('tls').length + authority.ledger('e2e').length;
  const offline = {
    code: 'pki.key_offline',
    message: /the key of "Plombe TLS root" is not here: bring .*root.key.pem/,
  };
  await assert.rejects(authority.issue({ path: 'ms-acc-2/acc-1/dev-1' }), offline);
  await assert.rejects(authority.revoke({ target: { path: 'ms-acc-1' }, kinds: ['ca'] }), offline);
  assert.equal(
    authority.ledger('tls').length + authority.ledger('e2e').length,
    before,
    'nothing was recorded',
  );

  for (const key of keys) renameSync(`${key}.elsewhere`, key);
  await authority.issue({ path: 'ms-acc-2/acc-1/dev-1' });
  await authority.revoke({ target: { path: 'ms-acc-1' }, kinds: ['ca'], reason: 'cACompromise' });
  const [root] = crlsFromPem(readFileSync(join(directory, 'tls', 'crl.pem')));
  assert.equal(root?.revoked.size, 1);
  const days = ((root?.nextUpdateMs ?? 0) - (root?.thisUpdateMs ?? 0)) / dayMs;
  assert.equal(days, 100, 'as long as the list before it');
});

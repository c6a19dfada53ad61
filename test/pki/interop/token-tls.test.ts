/** Keys for TLS and signatures that never leave a PKCS #11 token, of a client and of a broker; SoftHSM in place of a real one. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { loadE2eIdentity, loadTlsIdentity } from '../../../pki/identity.ts';
import { openTokenTlsKey } from '../../../pki/tls-key.ts';
import { plombe } from '../../system/process.ts';
import { agentSettings, currentOf, openReader, startFieldAgent } from '../../device-agent/key-slots/field.ts';
import { openVendor } from '../../registrar/fixture.ts';
import type { Vendor } from '../../registrar/fixture.ts';

const pin = '5678';
const uri = 'pkcs11:token=field?module-path=/usr/lib/softhsm/libsofthsm2.so';
let vendor: Vendor;
let pinFile: string;
before(async () => {
  vendor = await openVendor();
  await vendor.startRegistrar();
  pinFile = vendor.file('pin', `${pin}\n`);
  const tokens = path.join(vendor.site.directory, 'tokens');
  mkdirSync(tokens);
  process.env['SOFTHSM2_CONF'] = vendor.file(
    'softhsm2.conf',
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  const init = ['--init-token', '--free', '--label', 'field', '--so-pin', '1234', '--pin', pin];
  execFileSync('softhsm2-util', init, { stdio: 'ignore' });
});
after(() => vendor.remove());

async function works(...args: readonly string[]): Promise<void> {
  const { status, stderr } = await plombe(...args);
  assert.equal(status, 0, stderr);
}

test('an agent whose TLS and SIG keys are on a token: enrolled, at work, renewed; each key was made on the token', async () => {
  const device = 'ms-acc-1/acc-1/dev-1';
  const root = vendor.directory('on-token');
  const token = vendor.file('device.token', await vendor.token(device));
  const enrol = ['device', 'enrol', '--token', token, '--out', root, '--wait', '30'];
  await works(...enrol, '--tls-token', uri, '--sig-token', uri, '--key-passphrase-file', pinFile);
  const requireOnToken = (directory: string): void => {
    for (const name of ['tls', 'sig'])
      assert.match(readFileSync(path.join(directory, `${name}.key.pem`), 'utf8'), /^pkcs11:token=field;id=/);
  };
  requireOnToken(root);
  const reader = await openReader(vendor);
  const settings = await agentSettings(vendor, root);
  const devices = [
    {
      identity: root,
      passphraseFile: pinFile,
      collector: { kind: 'simulator', type: 'PC', intervalMs: 500 },
    },
  ];
  const { agent, journal } = await startFieldAgent({ ...settings, devices }, { renewNow: true });
  await journal.until('former_keys.removed');
  const count = reader.of(device).length;
  await reader.until(() => reader.of(device).length > count + 2);
  await agent.stop();
  assert.equal(currentOf(root), 'slot-a');
  requireOnToken(path.join(root, 'slot-a'));
  reader.requireWhole(device);
});

test('plombe pki request and sign: a broker and its upstream client with a key on a token', async () => {
  const keys = vendor.directory('broker-on-token');
  const options = ['--token', uri, '--key-passphrase-file', pinFile, '--out', keys];
  await works('pki', 'request', 'ms-acc-4', ...options);
  const authority = ['--dir', vendor.site.authority.directory];
  await works(
    'pki',
    'sign',
    path.join(keys, 'tls.csr.pem'),
    ...authority,
    '--host',
    '127.0.0.1',
    '--out',
    keys,
  );
  const { broker } = await vendor.site.start({
    name: 'on-token',
    identity: keys,
    passphraseFile: pinFile,
    data: path.join(vendor.site.directory, 'on-token-data'),
    cascade: { upstream: `127.0.0.1:${vendor.broker.port}`, brokerName: 'vendor-broker' },
  });
  const client = await vendor.site.connect(broker, 'ms-acc-4/acc-1/dev-1');
  const above = await vendor.site.connect(vendor.broker, 'MRO-Admin');
  await above.subscribeAsync('ms-acc-4/acc-1/dev-1/snapshots', { qos: 1 });
  await client.publishAsync('ms-acc-4/acc-1/dev-1/snapshots', 'sealed', { qos: 1 });
  assert.deepEqual(await vendor.site.received(above).count(1), ['ms-acc-4/acc-1/dev-1/snapshots=sealed']);
});

test('loadTlsIdentity: what a token refuses, and what cannot be on one, is said', async () => {
  const keys = path.join(vendor.site.directory, 'devices', 'broker-on-token');
  // In a process of its own: where the token is open already, it stays open.
  const passphraseFile = vendor.file('wrong', '0000\n');
  const config = { name: 'b', listen: '127.0.0.1:0', identity: keys, passphraseFile, data: `${keys}.data` };
  const check = await plombe(
    'broker',
    'check',
    '--config',
    vendor.file('wrong.yaml', JSON.stringify(config)),
  );
  assert.match(check.stderr, /token "field" refused to open a TLS key/);
  const engines = process.env['OPENSSL_ENGINES'];
  process.env['OPENSSL_ENGINES'] = vendor.site.directory;
  assert.throws(() => loadTlsIdentity(keys, { passphraseFile: pinFile }), /libengine-pkcs11-openssl/);
  process.env['OPENSSL_ENGINES'] = engines;
  const key = readFileSync(path.join(keys, 'tls.key.pem'), 'utf8');
  const open = openTokenTlsKey(key, pin).publicKey;
  assert.ok(openTokenTlsKey(key, undefined).publicKey.equals(open));
  const elsewhere = await vendor.keyDirectory('ms-acc-5');
  writeFileSync(path.join(elsewhere, 'enc.key.pem'), `${uri}\n`);
  assert.throws(() => loadE2eIdentity(elsewhere), { code: 'pki.token', message: /cannot be on a token/ });
  const refused = await plombe('pki', 'request', 'ms-acc-5', '--kind', 'enc', '--token', uri, '--out', keys);
  assert.match(refused.stderr, /cannot be on a token/);
});

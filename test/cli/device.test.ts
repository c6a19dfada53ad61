/** `plombe device`, as it is typed: invite, enrol, show, approve, and a whole production batch. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { readToken } from '../../enrolment/token.ts';
import { loadIdentity } from '../../pki/identity.ts';
import { rogueCertificate, stolenAuthority } from '../pki/rogue-authority.ts';
import { openVendor, requestOf } from '../registrar/fixture.ts';
import type { Vendor } from '../registrar/fixture.ts';
import { plombe } from '../system/process.ts';

const dayMs = 86_400_000;
let vendor: Vendor;
let dir: readonly string[];
let broker: readonly string[];
before(async () => {
  vendor = await openVendor();
  await vendor.startRegistrar();
  dir = ['--dir', vendor.site.authority.directory];
  broker = ['--broker', `127.0.0.1:${vendor.broker.port}`, '--broker-name', 'vendor-broker'];
});
after(() => vendor.remove());

function at(name: string): string {
  return path.join(vendor.site.directory, name);
}

async function works(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await plombe('device', ...args);
  assert.equal(status, 0, stderr);
  return stdout;
}

async function fails(...args: readonly string[]): Promise<string> {
  const { status, stderr } = await plombe('device', ...args);
  assert.equal(status, 1, stderr);
  assert.doesNotMatch(stderr.trim(), /\n/, 'one line');
  return stderr;
}

test('plombe device: an invitation, shown, used once on the device, and shown as what came of it', async () => {
  const device = 'ms-acc-1/acc-1/dev-1';
  const token = at('dev-1.token');
  await works('invite', device, ...dir, ...broker, '--out', token, '--days', '3');
  assert.equal(statSync(token).mode & 0o777, 0o600);
  const shown = await works('show', token);
  assert.match(shown, /device +ms-acc-1\/acc-1\/dev-1\n/);
  assert.match(shown, /broker +127.0.0.1:\d+, which must be vendor-broker\n/);
  const passphrase = vendor.file('passphrase', 'secret\n');
  const out = at('dev-1');
  const enrolled = await works('enrol', '--token', token, '--out', out, '--key-passphrase-file', passphrase);
  assert.match(enrolled, /enrolled/);
  assert.equal(loadIdentity(out, { passphraseFile: passphrase }).commonName, device);
  assert.match(await works('enrol', '--token', token, '--out', out), /holds an identity already/);
  assert.match(await fails('enrol', '--token', token, '--out', at('thief')), /was used for another request/);
  assert.match(await works('show', out), /common name +ms-acc-1\/acc-1\/dev-1/);
});

test('plombe device enrol: a token that is none, a broker that is not there, and no answer', async () => {
  const nonsense = vendor.file('nonsense', 'nonsense');
  assert.match(await fails('enrol', '--token', nonsense, '--out', at('x')), /not an enrolment token/);
  assert.match(await fails('enrol', '--token', at('nowhere'), '--out', at('x')), /no such file/);
  assert.match(await fails('enrol', '--out', at('x')), /--token FILE, or --csv FILE/);
  const token = at('away.token');
  const nobody = ['--broker', '127.0.0.1:1', '--broker-name', 'x'];
  await works('invite', 'ms-acc-1/acc-1/away', ...dir, ...nobody, '--out', token);
  const unanswered = await fails('enrol', '--token', token, '--out', at('away'), '--wait', '1');
  assert.match(unanswered, /cannot be reached/);
  assert.match(await works('show', at('away')), /to +enrol/);
});

test('plombe device invite: what was given is taken back by its serial numbers, and the device stays', async () => {
  const device = 'ms-acc-1/acc-1/dev-3';
  await vendor.keys(device);
  const token = at('dev-3.token');
  await works('invite', device, ...dir, ...broker, '--out', token);
  const serials = Array.from(
    (await works('show', token)).matchAll(/serial number +(\w+)/g),
    ([, serial = '']) => serial,
  );
  assert.equal(serials.length, 2);
  for (const serial of serials) assert.equal((await plombe('pki', 'revoke', ...dir, serial)).status, 0);
  const { authority } = vendor.site;
  const revoked = (['tls', 'e2e'] as const).flatMap((pki) =>
    authority.ledger(pki).filter(({ event, subject }) => event === 'revoked' && subject === device),
  );
  assert.deepEqual(
    revoked.map(({ serial, scope }) => [serial, scope]),
    serials.map((serial) => [serial, 'enrolment']),
  );
  assert.match(
    await fails('enrol', '--token', token, '--out', at('taken-back'), '--wait', '2'),
    /lets us not in/,
  );
});

test('plombe device enrol --csv: makes the file, leaves what is there as it is, and goes on where it stopped', async () => {
  const csv = at('devices.csv');
  const batch = ['enrol', '--csv', csv, '--out', at('tokens'), ...dir, ...broker];
  assert.match(await fails(...batch), /give --count and --first/);
  const first = ['--count', '12', '--first', 'ms-acc-2/acc-1/dev-098'];
  assert.match(await works(...batch, ...first), /12 devices .* 12 of them new/);
  const rows = readFileSync(csv, 'utf8').trim().split('\n');
  assert.equal(rows[0], 'path,file,valid until');
  assert.match(rows[12] ?? '', /^ms-acc-2\/acc-1\/dev-109,tokens\/ms-acc-2\/acc-1\/dev-109.token,2\d{3}-/);
  const tokenOf = (row: string | undefined): string => path.join(path.dirname(csv), row?.split(',')[1] ?? '');
  const kept = readFileSync(tokenOf(rows[1]), 'utf8');
  assert.equal(readToken(kept, Date.now()).path, 'ms-acc-2/acc-1/dev-098');
  rmSync(tokenOf(rows[7]));
  assert.match(await works(...batch), /12 devices .* 1 of them new/);
  assert.equal(readFileSync(tokenOf(rows[1]), 'utf8'), kept);
  assert.match(await fails(...batch, '--count', '13'), /12 devices are in it, and --count says 13/);
});

test('plombe device enrol --csv --complete: whole identities; a faulty file is said before anything is made', async () => {
  const rows = 'serial number,path\r\n4711,ms-acc-3/acc-1/dev-1\r\n4712,ms-acc-3/acc-1/dev-2\r\n';
  const csv = vendor.file('complete.csv', rows);
  const out = at('identities');
  const args = ['enrol', '--csv', csv, '--out', out, ...dir];
  const { status, stderr } = await plombe('device', ...args, '--complete');
  assert.equal(status, 0, stderr);
  assert.match(stderr, /\[#{30}\] 2 of 2/);
  const directory = path.join(out, 'ms-acc-3/acc-1/dev-2');
  assert.equal(loadIdentity(directory).commonName, 'ms-acc-3/acc-1/dev-2');
  for (const [text, says] of [
    ['a,b\n', /no column "path"/],
    ['path\nms-acc-3\n', /is not masterAccount\/account\/equipment/],
    ['path\na/b/c\na/b/c\n', /twice/],
  ] as const) {
    writeFileSync(csv, text);
    assert.match(await fails(...args, '--complete'), says);
  }
  assert.match(await fails(...args), /--broker and --broker-name/);
});

test('plombe device approve: shows what an expired device asks, and decides when it is told to', async () => {
  const device = 'ms-acc-4/acc-1/dev-1';
  const owner = await vendor.keyDirectory('ms-acc-4/acc-1');
  const decide = ['approve', device, '--identity', owner, ...broker, '--wait'];
  assert.match(await fails(...decide, '1'), /no request of ms-acc-4\/acc-1\/dev-1 waits/);
  const account = stolenAuthority(vendor.site.authority, 'e2e', 'ms-acc-4/acc-1');
  const master = stolenAuthority(vendor.site.authority, 'e2e', 'ms-acc-4');
  const times = { notBeforeMs: Date.now() - 9 * dayMs, notAfterMs: Date.now() - dayMs };
  const { certificate, key } = rogueCertificate({ issuer: account, commonName: device, ...times });
  const signer = { certificate, key, chain: [certificate, account.certificate, master.certificate] };
  const admin = await vendor.site.connect(vendor.broker, 'MRO-Admin');
  await admin.subscribeAsync(`${device}/enrolment/reply`, { qos: 1 });
  await admin.publishAsync(`${device}/enrolment`, requestOf(signer, device).message, { qos: 1 });
  const { texts } = vendor.site.received(admin);
  await vendor.site.received(admin).count(1);
  const shown = await works(...decide, '20');
  assert.match(shown, /to +renew\n/);
  assert.match(shown, /enc key +SHA-256 [0-9a-f]{64}\n/);
  assert.equal(texts.length, 1, 'nothing is decided yet');
  assert.match(await works(...decide, '20', '--yes'), /ms-acc-4\/acc-1\/dev-1: issued\n$/);
  assert.match(await fails(...decide, '1'), /no request/);
  assert.match(await fails('approve', 'ms-acc-4', '--identity', owner, ...broker), /is no device/);
});

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { readSignedPolicy } from '../../policy/signed-policy.ts';
import type { Authority } from '../../pki/authority/authority.ts';
import { createAuthority } from '../../pki/authority/authority.ts';
import { loadE2eIdentity } from '../../pki/identity.ts';
import { plombe } from '../system/process.ts';

const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/policy.md'), 'utf8');
const channels = `operating-hours
fuel.temperature
fuel.pressure
fuel.recipe
filter.life
environment.humidity
environment.pressure
electronics.supply-voltage
`;

const folder = mkdtempSync(path.join(tmpdir(), 'plombe-policy-'));
const at = (name: string): string => path.join(folder, name);
let authority: Authority;
before(async () => {
  authority = createAuthority({ directory: at('authority') });
  for (const name of ['ms-acc-1/insurer', 'ms-acc-1/acc-1', 'ms-acc-2']) {
    await authority.issue({ path: name, outputDirectory: at(path.basename(name)) });
  }
  writeFileSync(at('channels.txt'), channels);
  writeFileSync(at('policy.yaml'), blockOf('example: policy.yaml'));
});
after(() => rmSync(folder, { recursive: true }));

/** What the page shows under a mark. */
function blockOf(mark: string): string {
  const [, rest = ''] = page.split(`<!-- ${mark} -->`);
  return /^\s*```\w+\n([\s\S]*?)^```$/m.exec(rest)?.[1] ?? assert.fail(`no ${mark}`);
}

test('plombe policy check: says of the example in the documentation what the documentation says', async () => {
  const { status, stdout, stderr } = await plombe(
    'policy',
    'check',
    at('policy.yaml'),
    '--channels',
    at('channels.txt'),
    '--root',
    at('acc-1/e2e-root.crt.pem'),
  );
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(stdout, blockOf('output: plombe policy check policy.yaml --channels channels.txt'));
});

test('plombe policy check: names every fault with its line', async () => {
  const text = blockOf('example: policy.yaml')
    .replace('[operating-hours]', '[operating hours]')
    .replace('number: 4', 'numbr: 4');
  mkdirSync(at('faulty'));
  writeFileSync(at('faulty/policy.yaml'), text);
  const { status, stdout, stderr } = await plombe('policy', 'check', at('faulty/policy.yaml'));
  assert.deepEqual([status, stdout], [1, '']);
  assert.equal(
    stderr,
    `plombe: ${at('faulty/policy.yaml')}: 3 faults
  number: is missing
  line 2: numbr: no such setting
  line 17: readers.insurer.channels.auto[0]: a channel name, in which * stands for any characters
`,
  );
});

test('plombe policy check: a certificate that is not there, or is of another, is a fault', async () => {
  mkdirSync(at('other'));
  const file = at('other/policy.yaml');
  writeFileSync(file, blockOf('example: policy.yaml'));
  const missing = await plombe('policy', 'check', file);
  assert.match(missing.stderr, /line 14: readers\.insurer\.recipients\[0\]: .*enc\.chain\.pem/);
  writeFileSync(file, blockOf('example: policy.yaml').replace('insurer/enc', '../ms-acc-2/enc'));
  const wrong = await plombe('policy', 'check', file, '--root', at('acc-1/e2e-root.crt.pem'));
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /the certificate of ms-acc-1\/insurer is that of ms-acc-2/);
});

test('plombe policy sign, show, explain: the issuer alone signs, and what is signed reads the same', async () => {
  const foreign = await plombe(
    'policy',
    'sign',
    at('policy.yaml'),
    '--identity',
    at('ms-acc-2'),
    '--out',
    at('x'),
  );
  assert.equal(foreign.status, 1);
  const signed = at('policy.signed');
  const own = await plombe('policy', 'sign', at('policy.yaml'), '--identity', at('acc-1'), '--out', signed);
  assert.equal(own.status, 0, own.stderr);
  const { roots } = loadE2eIdentity(at('acc-1'));
  assert.equal(readSignedPolicy(readFileSync(signed), { roots, atMs: Date.now() }).policy.number, 4);
  const shown = await plombe('policy', 'show', signed, '--root', at('acc-1/e2e-root.crt.pem'));
  assert.match(shown.stdout, /\nSigned by ms-acc-1\/acc-1\n$/);
  writeFileSync(
    at('device.yaml'),
    'for: ms-acc-1/acc-1/dev-1\nnumber: 2\nreaders: { vendor: { channels: { auto: ["fuel.*"] } } }\n',
  );
  const explained = await plombe(
    'policy',
    'explain',
    'ms-acc-1/acc-1/dev-1',
    signed,
    at('device.yaml'),
    '--channels',
    at('channels.txt'),
  );
  assert.equal(
    explained.stdout,
    `ms-acc-1/acc-1/dev-1 obeys
  ms-acc-1/acc-1: number 4
  ms-acc-1/acc-1/dev-1: number 2
vendor: vendor-snapshot-service
  reads 2 of 8 channels
  never: operating-hours, fuel.recipe, filter.life, environment.humidity, environment.pressure, electronics.supply-voltage
  gets at most 20000000 bytes in an hour
Commands: ping, and no others
`,
  );
});

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { rolesWith } from '../../../broker/access/roles.ts';
import { decideFilter } from '../../../broker/access/shared-filter.ts';
import { decide } from '../../../broker/access/tacs.ts';
import { exportAcl } from '../../../broker/access/tacs-export.ts';
import { createAuthority } from '../../../pki/authority/authority.ts';
import type { Authority } from '../../../pki/authority/authority.ts';
import type { Certificate } from '../../../pki/certificate.ts';
import { enrolmentPurpose } from '../../../pki/extensions.ts';
import { clientAuth, rogueCertificate, stolenAuthority } from '../../pki/rogue-authority.ts';
import type { Rogue } from '../../pki/rogue-authority.ts';
import { filterOf, malformedFilters, place, roleTables, topicOf } from './histories.ts';
import { writeSdk } from './hivemq-sdk.ts';

// HiveMQ itself is not there: its SDK's signatures are, and a harness that calls the extension as HiveMQ does.
const directory = mkdtempSync(path.join(tmpdir(), 'plombe-hivemq-'));
const classes = path.join(directory, 'classes');
const roles = rolesWith({
  ...roleTables[1],
  'vendor-odd-service': { publish: ['a "quoted" \\ topic/ä/\n/Ω/#'], subscribe: ['+/b', 'a/+/#', 'a'] },
});
let authority: Authority;

before(() => {
  const extension = path.join(directory, 'PlombeAccess.java');
  writeFileSync(extension, exportAcl('hivemq', roles));
  const harness = path.join(import.meta.dirname, 'java', 'Harness.java');
  const files = [...writeSdk(path.join(directory, 'sdk')), extension, harness];
  const { status, stderr } = spawnSync('javac', ['--release', '11', '-Werror', '-d', classes, ...files], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  authority = createAuthority({ directory: path.join(directory, 'pki') });
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** @param questions - a line each @returns an answer each: the method of the SDK's output that was called, or the identity */
function ask(questions: readonly string[]): string[] {
  const input = questions.map((question) => `${question}\n`).join('');
  const { status, stdout, stderr } = spawnSync('java', ['-cp', classes, 'plombe.Harness'], {
    encoding: 'utf8',
    input,
    maxBuffer: 64 * 1024 * 1024,
  });
  assert.equal(status, 0, stderr);
  return stdout.trimEnd().split('\n');
}

const base64 = (bytes: string | Uint8Array): string => Buffer.from(bytes).toString('base64');

const anybody = fc.oneof(
  place.map(({ path: name }) => name),
  fc.constantFrom(
    ...roles.keys(),
    'vendor',
    'vendor-odd-service',
    'm/a/d/enrolment',
    'vendor/enrolment/x',
    'a//b',
    '',
  ),
  fc.constant('vendor/enrolment/vendor-factory-7'),
);
const question = fc.tuple(
  anybody,
  fc.constantFrom('publish' as const, 'subscribe' as const),
  fc.record({
    place,
    isSubtree: fc.boolean(),
    plus: fc.nat(31),
    hashAt: fc.option(fc.nat(4), { freq: 2 }),
    share: fc.option(fc.constantFrom('g' as const, 'h' as const), { freq: 3 }),
  }),
  fc.option(
    fc.constantFrom(
      ...malformedFilters,
      ...[...roles.values()].flatMap(({ publish, subscribe }) => [...publish, ...subscribe]),
      'a "quoted" \\ topic/ä/\n/Ω/x',
      'a/#',
      'm/policy',
      'm/a/d/enrolment/reply',
      '$SYS/x',
      `$share/${'x'.repeat(65)}/m`,
    ),
    { freq: 2 },
  ),
);

test('tacs export --for hivemq: the extension grants what ours grants, and nothing else', () => {
  const asked = fc
    .sample(question, { numRuns: 4000, seed: 20_261_121 })
    .map(([identity, action, shape, odd]) => {
      const topic = action === 'publish' ? topicOf(shape.place, identity) : filterOf(shape, identity);
      return { identity, action, topic: odd ?? topic };
    });
  const answers = ask(asked.map(({ identity, action, topic }) => `${action} ${identity} ${base64(topic)}`));
  const granted = asked.filter(({ identity, action, topic }, index) => {
    const { allowed } =
      action === 'publish' ? decide(identity, action, topic, roles) : decideFilter(identity, topic, roles);
    const wanted = allowed ? 'authorizeSuccessfully' : 'failAuthorization';
    assert.equal(answers[index], wanted, `${identity} ${action} ${topic}`);
    return allowed;
  });
  assert.ok(granted.length > 500 && granted.length < 3500, `${granted.length} of ${asked.length} granted`);
});

test('tacs export --for hivemq: a certificate is whom path discipline lets it be', async () => {
  const device = 'ms-acc-1/acc-1/dev-1';
  const { tls } = (await authority.issue({ path: device })).certificates;
  assert(tls);
  const [account, master, vendor] = ['ms-acc-1/acc-1', 'ms-acc-1', 'vendor'].map((name) =>
    stolenAuthority(authority, 'tls', name),
  ) as [Rogue, Rogue, Rogue];
  const root = stolenAuthority(authority, 'tls', 'root');
  const leaf = (issuer: Rogue, commonName: string, purposes = [clientAuth]): Certificate =>
    rogueCertificate({ issuer, commonName, extendedKeyUsage: purposes }).certificate;
  const above = [account.certificate, master.certificate];
  const foreign = rogueCertificate({ issuer: master, commonName: 'ms-acc-2', ca: {} });
  const twin = rogueCertificate({ issuer: root, commonName: 'ms-acc-1/acc-1', ca: {} });
  const cases = [
    ['what the authority issued', tls.chain, device],
    ['with the root behind it', [...tls.chain, authority.roots.tls], device],
    ['an account', [leaf(account, 'ms-acc-1/acc-1'), ...above], 'ms-acc-1/acc-1'],
    ['a service', [leaf(vendor, 'vendor-broker'), vendor.certificate], 'vendor-broker'],
    ['a service of the root', [leaf(root, 'MRO-Admin')], 'MRO-Admin'],
    [
      'a bootstrap certificate',
      [leaf(account, device, [clientAuth, enrolmentPurpose]), ...above],
      `${device}/enrolment`,
    ],
    ['a device of another account', [leaf(account, 'ms-acc-1/acc-2/dev-1'), ...above], undefined],
    ['a service below a customer', [leaf(account, 'vendor-broker'), ...above], undefined],
    ['a name that begins alike', [leaf(account, 'ms-acc-1/acc-10'), ...above], undefined],
    ['a device of the root', [leaf(root, device)], undefined],
    ['a device of the vendor', [leaf(vendor, device), vendor.certificate], undefined],
    ['two levels at once', [leaf(master, device), master.certificate], undefined],
    [
      'a foreign CA below a customer',
      [leaf(foreign, 'ms-acc-2'), foreign.certificate, master.certificate],
      undefined,
    ],
    ['an account CA of the root', [leaf(twin, device), twin.certificate], undefined],
    ['a CA as a client', above, undefined],
    ['a signature of another key', [leaf({ ...account, key: master.key }, device), ...above], undefined],
    [
      'a CA too many',
      [leaf(account, device), account.certificate, account.certificate, master.certificate],
      undefined,
    ],
  ] as const;
  const answers = ask(
    cases.map(([, chain]) => {
      const pem = chain.map(
        ({ der }) => `-----BEGIN CERTIFICATE-----\n${base64(der)}\n-----END CERTIFICATE-----\n`,
      );
      return `connect ${base64(pem.join(''))}`;
    }),
  );
  for (const [index, [what, , identity]] of cases.entries()) {
    assert.equal(answers[index], identity ?? 'failAuthentication', what);
  }
});

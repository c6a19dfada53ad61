import assert from 'node:assert/strict';
import test from 'node:test';
import { CmsError } from '../../cms/errors.ts';
import { inspect } from '../../cms/inspect.ts';
import { openAnonymous } from '../../cms/open-anonymous.ts';
import { createOpener } from '../../cms/open.ts';
import type { OpenedEnvelope } from '../../cms/open.ts';
import { originatorsOf } from '../../cms/originator.ts';
import {
  fixtureCertificate,
  fixtureOriginator,
  fixtureRecipient,
  fixtures,
  readFixture,
} from './fixtures.ts';
import type { Fixture } from './fixtures.ts';

/** What `docs/wire.md` decides where the manifest says `either`; anything else would be a silent change of policy. */
const decisions: Readonly<Record<string, string>> = {
  'rfc-nonid-data': 'cms.unsupported',
  sha224: 'opened',
  'tag-truncated-12': 'cms.rejected',
  'eph-hybrid-form': 'cms.rejected',
  'orig-alg-other-curve': 'cms.rejected',
  'certs-swapped': 'opened',
  'certs-garbage': 'opened',
  'wrap-params-null': 'cms.malformed',
  'version-1': 'cms.malformed',
  'kari-version-0': 'cms.malformed',
  'dup-recipient-same': 'cms.malformed',
  'dup-recipient-bad-first': 'cms.malformed',
  'dup-recipient-bad-last': 'cms.malformed',
  'many-reks-3000': 'cms.malformed',
  'unauth-attrs': 'opened',
  'extra-field': 'cms.malformed',
  'der-nonminimal-length': 'cms.malformed',
  'authattrs-unsorted': 'cms.malformed',
};

/** Why the manifest says `reject`, and which codes of ours say the same. */
const codesByReason: Readonly<Record<string, readonly string[]>> = {
  'auth-tag': ['cms.rejected', 'cms.malformed'],
  'key-unwrap': ['cms.rejected'],
  point: ['cms.rejected'],
  policy: ['cms.rejected'],
  parse: ['cms.malformed'],
  unsupported: ['cms.unsupported'],
  'not-recipient': ['cms.not_a_recipient'],
  'untrusted-originator': ['cms.untrusted_originator'],
};

test('fixtures: the whole set is there', () => {
  assert.equal(fixtures.length, 362);
});

for (const fixture of fixtures) {
  for (const recipient of fixture.recipients) {
    test(`open: fixture ${fixture.id}, ${recipient.name}`, () => {
      const outcome = outcomeOf(fixture, recipient);
      if (fixture.expect === 'reject') {
        assert.ok(codesByReason[fixture.reason ?? '']?.includes(outcome), outcome);
      } else {
        assert.equal(outcome, fixture.expect === 'accept' ? 'opened' : decisionOn(fixture));
      }
    });
  }
}

for (const fixture of fixtures.filter(({ group }) => group === 'openssl')) {
  test(`openAnonymous: fixture ${fixture.id}`, () => {
    const [recipient] = fixture.recipients.map(fixtureRecipient);
    assert.ok(recipient);
    assert.deepEqual(openAnonymous(readFixture(fixture.file), recipient), readFixture(fixture.plaintextFile));
  });
}

test('openAnonymous: an envelope that has an originator is none of its business', () => {
  const fixture = fixtures.find(({ id }) => id === 'form-p256-rfc');
  assert.ok(fixture?.recipients[0]);
  const recipient = fixtureRecipient(fixture.recipients[0]);
  assert.throws(() => openAnonymous(readFixture(fixture.file), recipient), { code: 'cms.unsupported' });
});

test('open: embedded certificates that are not readable matter if the originator is not known', () => {
  const fixture = fixtures.find(({ id }) => id === 'neg-p256-certs-garbage');
  assert.ok(fixture?.recipients[0]);
  const opener = createOpener({
    recipient: fixtureRecipient(fixture.recipients[0]),
    originators: originatorsOf([]),
    verifyChain: () => undefined,
    policy: { allowUnsigned: true },
  });
  assert.throws(() => opener.open(readFixture(fixture.file)), { code: 'cms.malformed' });
});

test('open: a signing time among the unauthenticated attributes is not believed', () => {
  const fixture = fixtures.find(({ id }) => id === 'neg-p256-unauth-attrs');
  assert.ok(fixture?.recipients[0]);
  const opened = open(fixture, fixture.recipients[0]);
  assert.equal(opened.signingTimeMs, inspect(readFixture(fixture.file)).signingTimeMs);
  assert.ok(Math.abs((opened.signingTimeMs ?? 0) - Date.UTC(2026, 10, 20, 16)) < 3_600_000);
});

test('open: only the flavours that policy names are tried', () => {
  for (const [id, flavour] of [
    ['form-p256-rfc', 'bc'],
    ['form-p256-der', 'rfc5753'],
  ] as const) {
    const fixture = fixtures.find((candidate) => candidate.id === id);
    assert.ok(fixture?.recipients[0]);
    const recipient = fixtureRecipient(fixture.recipients[0]);
    const originators = originatorsOf(fixture.trustedOriginators.map(fixtureOriginator));
    const policy = { allowUnsigned: true, kdfFlavours: [flavour] };
    const opener = createOpener({ recipient, originators, policy });
    assert.throws(() => opener.open(readFixture(fixture.file)), { code: 'cms.rejected' });
  }
});

test('inspect: reads every fixture that can be opened', () => {
  for (const fixture of fixtures.filter(({ expect }) => expect === 'accept')) {
    const summary = inspect(readFixture(fixture.file));
    assert.equal(summary.form, 'bare');
    assert.equal(
      summary.agreements.flatMap(({ recipients }) => recipients).length,
      fixture.recipients.length,
    );
  }
});

/** @returns `opened` if content and originator are the right ones, else the code */
function outcomeOf(fixture: Fixture, recipient: Fixture['recipients'][number]): string {
  try {
    const opened = open(fixture, recipient);
    assert.deepEqual(opened.content, readFixture(fixture.plaintextFile));
    assert.ok(fixture.originatorCert);
    assert.deepEqual(opened.originator.keyAgreement.der, fixtureCertificate(fixture.originatorCert).der);
    return 'opened';
  } catch (error) {
    if (!(error instanceof CmsError)) throw error;
    return error.code;
  }
}

function open(fixture: Fixture, recipient: Fixture['recipients'][number]): OpenedEnvelope {
  const opener = createOpener({
    recipient: fixtureRecipient(recipient),
    originators: originatorsOf(fixture.trustedOriginators.map(fixtureOriginator)),
    policy: { allowUnsigned: true, kdfFlavours: ['rfc5753', 'bc'] },
  });
  return opener.open(readFixture(fixture.file));
}

function decisionOn({ id, group }: Fixture): string | undefined {
  if (group === 'brainpool') return 'opened';
  if (group === 'openssl') return 'cms.unsupported';
  return decisions[id.replace(/^[a-z]+-p\d+-/, '')];
}

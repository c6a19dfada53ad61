import assert from 'node:assert/strict';
import test from 'node:test';
import { chainVerifier } from '../../cms/chain.ts';
import { inspect } from '../../cms/inspect.ts';
import { createOpener } from '../../cms/open.ts';
import { originatorsOf, pairCertificates } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import { addSignature } from '../../cms/sign.ts';
import { readEnvelope } from '../../cms/envelope.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import { authority, contextOf, makeIdentity, signingTimeMs } from './identities.ts';
import type { Identity } from './identities.ts';

const master = rogueCertificate({ issuer: authority, commonName: 'ms-acc-1', ca: { pathLength: 1 } });
const account = rogueCertificate({ issuer: master, commonName: 'ms-acc-1/acc-1', ca: { pathLength: 0 } });
const device = makeIdentity('ms-acc-1/acc-1/dev-1', 'P-256', account);
const backend = makeIdentity('vendor-snapshot-service');
const content = Buffer.from('fuel.temperature 21.5 Cel');
const chain = [account.certificate, master.certificate];

function seal(from: Identity, embedChain = chain): Buffer {
  const recipients = [backend.recipient.certificate];
  return createSealer(from.sealKeys).seal(content, recipients, contextOf({ embedChain })).envelope;
}

function openWith(envelope: Uint8Array, root = authority.certificate, allowUnsigned = false) {
  const refused: string[] = [];
  const opener = createOpener({
    recipient: backend.recipient,
    originators: originatorsOf([]),
    verifyChain: chainVerifier({
      roots: [root],
      clock: () => Date.now(),
      onRefused: ({ code }) => refused.push(code),
    }),
    policy: { allowUnsigned },
  });
  return { open: () => opener.open(envelope), refused };
}

test('chainVerifier: an embedded chain that leads to a pinned root is trusted', () => {
  const opened = openWith(seal(device)).open();
  assert.equal(opened.originator.commonName, 'ms-acc-1/acc-1/dev-1');
  assert.deepEqual(opened.originator.signature?.sha256, device.signatureKey.certificate.sha256);
  assert.deepEqual(opened.content, content);
});

test('chainVerifier: in a bare envelope the chain is in the originator info', () => {
  const { keyAgreement } = device.sealKeys;
  const bare = seal({ ...device, sealKeys: { keyAgreement } });
  assert.equal(readEnvelope(bare).authEnveloped.certificates.length, 3);
  const opened = openWith(bare, authority.certificate, true).open();
  assert.equal(opened.originator.commonName, 'ms-acc-1/acc-1/dev-1');
  assert.equal(opened.originator.signature, undefined);
});

test('chainVerifier: another root, a missing CA and a name outside the subtree are refused', () => {
  const outside = makeIdentity('ms-acc-2/acc-1/dev-1', 'P-256', account);
  for (const [envelope, root, code] of [
    [seal(device), rogueCertificate({ commonName: 'Test E2E root', ca: {} }).certificate, 'pki.untrusted'],
    [seal(device, [master.certificate]), authority.certificate, 'pki.untrusted'],
    [seal(outside), authority.certificate, 'pki.path_discipline'],
  ] as const) {
    const attempt = openWith(envelope, root);
    assert.throws(attempt.open, { code: 'cms.untrusted_originator' });
    // Two keys and a subject that both roots share: the identifier or the signature tells them apart.
    assert.equal(attempt.refused.length, 1);
    assert.ok([code, 'pki.bad_signature'].includes(attempt.refused[0] ?? ''), attempt.refused[0]);
  }
});

test('open: embedded certificates are not looked at for an originator who is known, and none by default', () => {
  const envelope = seal(device);
  const known = createOpener({
    recipient: backend.recipient,
    originators: originatorsOf([device.originator]),
    verifyChain: () => assert.fail('asked'),
  });
  assert.deepEqual(known.open(envelope).content, content);
  const none = createOpener({ recipient: backend.recipient, originators: originatorsOf([]) });
  assert.throws(() => none.open(envelope), { code: 'cms.untrusted_originator' });
});

test('open: a callback that vouches for another certificate than the one offered is not believed', () => {
  const opener = createOpener({
    recipient: backend.recipient,
    originators: originatorsOf([]),
    verifyChain: () => backend.originator,
  });
  assert.throws(() => opener.open(seal(device)), { code: 'cms.untrusted_originator' });
});

test('seal: not more certificates than a reader takes', () => {
  const many = Array.from({ length: 11 }, (_, index) => makeIdentity(`ca-${index}`).signatureKey.certificate);
  assert.throws(() => seal(device, many), { code: 'cms.unsupported' });
});

test('pairCertificates: by common name, without CAs', () => {
  const bareOnly = makeIdentity('ms-acc-1/acc-1/dev-2').recipient.certificate;
  const pairs = pairCertificates([
    device.signatureKey.certificate,
    account.certificate,
    device.recipient.certificate,
    bareOnly,
  ]);
  assert.deepEqual(pairs, [
    device.originator,
    { commonName: 'ms-acc-1/acc-1/dev-2', keyAgreement: bareOnly },
  ]);
});

test('inspect: shows what is outside and what is authenticated', () => {
  const auditor = makeIdentity('ms-acc-1', 'P-384');
  const envelope = addSignature(seal(device), auditor.signatureKey, signingTimeMs + 5000);
  const summary = inspect(envelope);
  assert.equal(summary.form, 'signed');
  assert.equal(summary.envelopeBytes, envelope.length);
  assert.equal(summary.contentEncryption, 'AES-256-GCM');
  assert.equal(summary.contentBytes, content.length);
  assert.equal(summary.signingTimeMs, signingTimeMs);
  assert.equal(summary.info?.topic, 'ms-acc-1/acc-1/dev-1/snapshots');
  assert.equal(summary.info?.sequence, 7);
  assert.equal(summary.info?.encoding, 'identity');
  assert.deepEqual(summary.info?.originatorHashes, [device.recipient.certificate.sha256]);
  assert.equal(summary.otherRecipients, 0);
  assert.deepEqual(
    summary.agreements.map(({ keyAgreement, keyWrap }) => [keyAgreement, keyWrap]),
    [['mqvSha256', 'aes256Wrap']],
  );
  assert.deepEqual(
    new Set(summary.signers.map(({ algorithm }) => algorithm)),
    new Set(['ecdsa-with-sha256', 'ecdsa-with-sha384']),
  );
  assert.ok(summary.certificates.includes('CN=ms-acc-1/acc-1'));
});

/** What no ordinary message, key or machine brings about. */
import assert from 'node:assert/strict';
import { createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import test from 'node:test';
import { chainVerifier } from '../../../cms/chain.ts';
import { basePointTimes, randomScalar, readScalar, scalarOf, writeScalar } from '../../../cms/ecdh.ts';
import { writeContentInfo } from '../../../cms/envelope.ts';
import { identifierOf } from '../../../cms/identifier.ts';
import { oids } from '../../../cms/oid.ts';
import { openAnonymous } from '../../../cms/open-anonymous.ts';
import { originatorsOf } from '../../../cms/originator.ts';
import { portableEngine } from '../../../cms/portable-engine.ts';
import { writeSignedData } from '../../../cms/signed-data.ts';
import { makeSignerInfo } from '../../../cms/signer-info.ts';
import { suiteOf } from '../../../cms/suite.ts';
import { wasmEngine } from '../../../cms/wasm/wasm-engine.ts';
import { curveNames } from '../../../pki/certificate.ts';
import { RevocationIndex } from '../../../pki/revocation.ts';
import { element, readForest } from '../../../fuzz/tlv.ts';
import type { Tlv } from '../../../fuzz/tlv.ts';
import { fixtureRecipient, fixtures, readFixture } from '../fixtures.ts';
import { authority, makeIdentity, signingTimeMs } from '../identities.ts';
import {
  at,
  auditor,
  backend,
  chainOpener,
  childrenOf,
  content,
  device,
  edited,
  fill,
  laxOpener,
  messages,
  openerFor,
  seal,
  written,
} from './messages.ts';

const malformed = { code: 'cms.malformed' };
const rejected = { code: 'cms.rejected' };
const unsupported = { code: 'cms.unsupported' };
/** The one SignerInfo of a signed envelope. */
const signerPath = [1, 0, -1, 0];

test('open: a signer by issuer and serial number, with the version that belongs to it', () => {
  const { issuerDer, serialNumber } = device.signatureKey.certificate;
  const [issuer] = readForest(issuerDer) ?? [];
  assert.ok(issuer);
  const naming = (version: number) =>
    edited(seal(), (root) => {
      const signer = childrenOf(at(root, ...signerPath));
      signer.splice(
        0,
        2,
        element(0x02, Buffer.of(version)),
        element(0x30, [issuer, element(0x02, serialNumber)]),
      );
    });
  assert.deepEqual(laxOpener.open(naming(1)).content, content);
  assert.throws(() => laxOpener.open(naming(3)), malformed);
  const byKeyIdentifier = edited(seal(), (root) => fill(at(root, ...signerPath, 0), Buffer.of(1)));
  assert.throws(() => laxOpener.open(byKeyIdentifier), malformed);
});

test('open: unsigned attributes are read for form and ignored', () => {
  const adding = (...attributes: readonly Tlv[]) =>
    edited(seal(), (root) => void childrenOf(at(root, ...signerPath)).push(element(0xa1, attributes)));
  const attribute = element(0x30, [
    element(0x06, Buffer.of(0x2a, 3)),
    element(0x31, [element(0x04, Buffer.of(1))]),
  ]);
  assert.deepEqual(laxOpener.open(adding(attribute)).content, content);
  for (const wrong of [adding(), adding(attribute, attribute), adding(element(0x04, Buffer.of(1)))]) {
    assert.throws(() => laxOpener.open(wrong), malformed);
  }
});

test('open: NULL as the parameter of a digest algorithm, and what only looks like it', () => {
  const withNull = (octets: Buffer) =>
    edited(seal(), (root) => {
      for (const path of [
        [1, 0, 1, 0],
        [...signerPath, 2],
      ]) {
        childrenOf(at(root, ...path)).push(element(0x05, octets));
      }
    });
  assert.deepEqual(laxOpener.open(withNull(Buffer.alloc(0))).content, content);
  assert.throws(() => laxOpener.open(withNull(Buffer.of(0))), malformed);
});

test('open: an originator whose SIG certificate has a key on no curve of ours, or for another purpose', () => {
  const certificate = device.signatureKey.certificate;
  for (const signature of [
    { ...certificate, curve: undefined },
    { ...certificate, keyUsage: new Set(['keyAgreement'] as const) },
  ]) {
    const originators = originatorsOf([{ ...device.originator, signature }]);
    assert.throws(() => openerFor(backend, { originators }).open(seal()), rejected);
  }
});

test('open: the chain inside may hold certificates on other curves', () => {
  const other = makeIdentity('ms-acc-1/acc-1/dev-1', 'P-384').recipient.certificate;
  const chain = seal({ originator: 'publicKey' }, { embedChain: [other] });
  assert.throws(() => chainOpener.open(chain), { code: 'cms.untrusted_originator' });
  assert.deepEqual(laxOpener.open(chain).content, content);
});

test('open: certificates inside that are nobody’s who is named are not even asked about', () => {
  const opener = openerFor(backend, {
    originators: originatorsOf([]),
    verifyChain: () => assert.fail('asked'),
  });
  const [stranger] = readForest(makeIdentity('ms-acc-2').recipient.certificate.der) ?? [];
  assert.ok(stranger);
  const message = edited(
    seal(),
    (root) => void childrenOf(at(root, 1, 0)).splice(3, 0, element(0xa0, [stranger])),
  );
  assert.throws(() => opener.open(message), { code: 'cms.untrusted_originator' });
});

test('chainVerifier: two certificates that are good, of two identities, are nobody', () => {
  const verify = chainVerifier({ roots: [authority.certificate], clock: () => Date.now() });
  const keyAgreement = backend.recipient.certificate;
  const service = makeIdentity('vendor-firmware-service').signatureKey.certificate;
  assert.equal(verify({ keyAgreement, signature: service, all: [keyAgreement, service] }), undefined);
  const own = backend.signatureKey.certificate;
  const found = verify({ keyAgreement, signature: own, all: [keyAgreement, own] });
  assert.equal(found?.commonName, 'vendor-snapshot-service');
});

test('chainVerifier: what is wrong with the verifier is not taken for a certificate that is', () => {
  const broken = new RevocationIndex();
  broken.lookUp = () => {
    throw new TypeError('planted');
  };
  const keyAgreement = backend.recipient.certificate;
  const verify = chainVerifier({
    roots: [authority.certificate],
    clock: () => Date.now(),
    revocation: broken,
    stalePolicy: { action: 'warn' },
  });
  assert.throws(() => verify({ keyAgreement, signature: undefined, all: [keyAgreement] }), TypeError);
});

test('open: when a further signer signed is told only by that signer', () => {
  const enveloped = written({});
  const signers = [device, auditor].map(({ signatureKey }) =>
    makeSignerInfo(enveloped, signatureKey, undefined),
  );
  const message = writeContentInfo(
    oids.signedData,
    writeSignedData({ content: enveloped, certificates: [], signers }),
  );
  assert.deepEqual(
    laxOpener.open(message).signers.map(({ signingTimeMs: atMs }) => atMs),
    [signingTimeMs, undefined],
  );
});

test('openAnonymous: a wrong wrap and a wrong tag are the same refusal', () => {
  const fixture = fixtures.find(({ group }) => group === 'openssl');
  assert.ok(fixture?.recipients[0]);
  const recipient = fixtureRecipient(fixture.recipients[0]);
  const message = readFixture(fixture.file);
  const flipping = (path: readonly number[]) =>
    edited(message, (root) => {
      const found = at(root, ...path);
      fill(found, found.octets.map((octet, index) => (index === 0 ? octet ^ 1 : octet)) as Buffer);
    });
  const wrapPath = [1, 0, 1, 0, -1, 0, -1];
  for (const wrong of [flipping(wrapPath), flipping([1, 0, -1])]) {
    assert.throws(() => openAnonymous(wrong, recipient), rejected);
  }
  assert.throws(() => openAnonymous(messages['signed'] ?? content, backend.recipient), unsupported);
});

test('scalarOf: a key that is no private key on the curve is refused', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const ed25519 = generateKeyPairSync('ed25519').privateKey;
  for (const key of [publicKey, ed25519, createSecretKey(randomBytes(32))]) {
    assert.throws(() => scalarOf(suiteOf('P-384'), key), unsupported);
  }
  assert.throws(() => scalarOf(suiteOf('P-256'), privateKey), unsupported);
  assert.equal(scalarOf(suiteOf('P-384'), privateKey).length, 48);
});

test('identifierOf: a certificate without a subject key identifier has only the other name', () => {
  const certificate = { ...device.recipient.certificate, subjectKeyIdentifier: undefined };
  assert.throws(() => identifierOf(certificate, 'keyIdentifier'), unsupported);
  assert.equal(identifierOf(certificate, 'issuerAndSerial').kind, 'issuerAndSerial');
  const openers = originatorsOf([{ ...auditor.originator, keyAgreement: certificate }]);
  assert.equal(openers.byKeyIdentifier(Buffer.alloc(20)), undefined);
});

for (const curve of curveNames) {
  const suite = suiteOf(curve);
  const [fast, portable] = [wasmEngine(suite), portableEngine(suite)];
  const bits = suite.order.toString(2).length;
  const { Fn } = suite.Point;

  test(`wasmEngine: a scalar of 0 is refused by either side, ${curve}`, () => {
    const zero = Buffer.alloc(suite.coordinateBytes);
    const [d, v] = [randomScalar(suite, randomBytes), randomScalar(suite, randomBytes)];
    const [own, other] = [basePointTimes(suite, v), basePointTimes(suite, d)];
    assert.throws(() => fast.send(d, zero, [own]));
    assert.equal(fast.receiver(zero, own)(other, other), undefined);
    assert.throws(() => fast.receiver(v, Buffer.alloc(own.length, 1))(other, other));
  });

  // All digits are 1 or −1, so the sum that equals what is added to it last is at n with the last entry's digits negated.
  test(`wasmEngine: scalars at which the formulas for a comb have an exception, ${curve}`, () => {
    const [teeth, blocks] = [6, 4];
    const columns = Math.ceil(bits / (teeth * blocks));
    const count = teeth * blocks * columns;
    const digits = (suite.order + (1n << BigInt(count)) - 1n) >> 1n;
    const v = randomScalar(suite, randomBytes);
    const recipient = basePointTimes(suite, v);
    for (let last = 0; last < blocks * columns; last++) {
      let entry = 0n;
      for (let tooth = 0; tooth < teeth; tooth++) {
        const position = BigInt(tooth * blocks * columns + last);
        entry += ((digits >> position) & 1n) === 1n ? 1n << position : -(1n << position);
      }
      for (const scalar of [suite.order - 2n * entry, 2n * entry].map((one) => Fn.create(one))) {
        const e = writeScalar(suite, scalar);
        requireSame(randomScalar(suite, randomBytes), e);
        // And as what the recipient's point is multiplied by: e + avf(E)·d.
        const ephemeral = randomScalar(suite, randomBytes);
        const x = readScalar(basePointTimes(suite, ephemeral).subarray(1, 1 + suite.coordinateBytes));
        const top = 1n << BigInt(suite.halfBits);
        const avf = Fn.create((x & (top - 1n)) | top);
        const d = Fn.mul(Fn.sub(scalar, Fn.create(readScalar(ephemeral))), Fn.inv(avf));
        requireSame(writeScalar(suite, d), ephemeral);
      }
    }

    function requireSame(d: Buffer, e: Buffer): void {
      assert.deepEqual(fast.send(d, e, [recipient]), portable.send(d, e, [recipient]));
    }
  });
}

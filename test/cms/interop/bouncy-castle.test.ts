/** Envelopes from BouncyCastle to us and from us to BouncyCastle, made live. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test, { after } from 'node:test';
import { readEnvelope } from '../../../cms/envelope.ts';
import { createOpener } from '../../../cms/open.ts';
import { originatorsOf } from '../../../cms/originator.ts';
import { createSealer } from '../../../cms/seal.ts';
import type { SealFormat } from '../../../cms/seal-format.ts';
import { curveNames } from '../../../pki/certificate.ts';
import type { CurveName } from '../../../pki/certificate.ts';
import { contextOf, makeIdentity } from '../identities.ts';
import type { Identity } from '../identities.ts';
import {
  BouncyCastleRefusal,
  openStock,
  openStrictly,
  sealStock,
  sealStrictly,
  startBouncyCastle,
} from './bouncy-castle.ts';

const peer = await startBouncyCastle('-XX:+UseSerialGC');
after(() => peer.stop());

const people = new Map(
  curveNames.map((curve) => [
    curve,
    {
      device: makeIdentity('ms-acc-1/acc-1/dev-1', curve),
      readers: ['vendor-snapshot-service', 'ms-acc-1', 'ms-acc-1/acc-1'].map((name) =>
        makeIdentity(name, curve),
      ),
    },
  ]),
);
const content = Buffer.from('fuel.temperature 21.5 Cel');

function peopleOn(curve: CurveName) {
  const found = people.get(curve);
  assert.ok(found);
  return found;
}

/** Octets that do not compress and are the same in every run. */
function contentOf(bytes: number): Buffer {
  return createHash('shake256', { outputLength: Math.max(bytes, 1) })
    .update(`${bytes}`)
    .digest()
    .subarray(0, bytes);
}

function openOurs(reader: Identity, device: Identity, envelope: Buffer): Buffer {
  const opener = createOpener({
    recipient: reader.recipient,
    originators: originatorsOf([device.originator]),
    policy: { allowUnsigned: true, kdfFlavours: ['bc'] },
  });
  const opened = opener.open(envelope);
  assert.equal(opened.originator, device.originator);
  return opened.content;
}

for (const curve of curveNames) {
  for (const hash of ['sha1', 'sha256', 'sha384', 'sha512']) {
    for (const count of [1, 3]) {
      test(`open: from BouncyCastle, ${curve}, ${hash}, ${count} recipients`, async () => {
        const { device, readers } = peopleOn(curve);
        const recipients = readers.slice(0, count);
        const envelope = await sealStock(peer, {
          hash,
          keyBytes: 32,
          originator: device.recipient,
          recipients: recipients.map(({ recipient }) => recipient.certificate),
          content,
        });
        for (const reader of recipients) assert.deepEqual(openOurs(reader, device, envelope), content);
      });
    }
  }
}

for (const curve of curveNames) {
  for (const hash of ['sha256', 'sha384', 'sha512']) {
    for (const count of [1, 3]) {
      test(`open: made in Java after docs/wire.md, signed, ${curve}, ${hash}, ${count} recipients`, async () => {
        const { device, readers } = peopleOn(curve);
        const recipients = readers.slice(0, count);
        const certificates = recipients.map(({ recipient }) => recipient.certificate);
        const envelope = await sealStrictly(peer, hash, device, certificates, contextOf(), content);
        for (const { recipient } of recipients) {
          const originators = originatorsOf([device.originator]);
          const opened = createOpener({ recipient, originators }).open(envelope);
          const { topic, sequence, signers, originator } = opened;
          assert.deepEqual(opened.content, content);
          assert.deepEqual({ topic, sequence }, { topic: contextOf().topic, sequence: contextOf().sequence });
          assert.equal(originator, device.originator);
          assert.deepEqual(
            signers.map(({ certificate }) => certificate),
            [device.signatureKey.certificate],
          );
        }
      });
    }
  }
}

for (const keyBytes of [16, 24, 32]) {
  // BouncyCastle writes what is longer than 1,000 octets in segments of that.
  for (const bytes of [0, 1, 999, 1000, 1001, 100_000]) {
    test(`open: from BouncyCastle, AES-${8 * keyBytes}, ${bytes} octets`, async () => {
      const { device, readers } = peopleOn('P-256');
      const [reader] = readers;
      assert.ok(reader);
      const sent = contentOf(bytes);
      const envelope = await sealStock(peer, {
        hash: 'sha256',
        keyBytes,
        originator: device.recipient,
        recipients: [reader.recipient.certificate],
        content: sent,
      });
      assert.deepEqual(openOurs(reader, device, envelope), sent);
    });
  }
}

/** What stock BouncyCastle up to 1.86 understands. */
const stockFormat: SealFormat = {
  kdfFlavour: 'bc',
  originator: 'publicKey',
  attributes: 'plain',
  compress: false,
};

function sealForStock(device: Identity, readers: readonly Identity[], sent: Buffer, format: SealFormat) {
  const { keyAgreement } = device.sealKeys;
  const sealer = createSealer({ keyAgreement }, { format: { ...stockFormat, ...format } });
  const certificates = readers.map(({ recipient }) => recipient.certificate);
  return sealer.seal(sent, certificates, contextOf()).envelope;
}

for (const curve of curveNames) {
  for (const kdfHash of ['sha256', 'sha384', 'sha512'] as const) {
    for (const count of [1, 3]) {
      for (const recipient of ['keyIdentifier', 'issuerAndSerial'] as const) {
        test(`seal: for BouncyCastle, ${curve}, ${kdfHash}, ${count} recipients by ${recipient}`, async () => {
          const { device, readers } = peopleOn(curve);
          const recipients = readers.slice(0, count);
          const envelope = sealForStock(device, recipients, content, { kdfHash, recipient });
          for (const reader of recipients) {
            const opened = await openStock(peer, envelope, reader.recipient);
            assert.deepEqual(opened.content, content);
            assert.deepEqual(opened.originatorPoint, device.recipient.certificate.publicPoint);
          }
        });
      }
    }
  }
}

for (const keyBytes of [16, 24, 32] as const) {
  for (const bytes of [0, 1, 999, 1000, 1001, 100_000]) {
    test(`seal: for BouncyCastle, AES-${8 * keyBytes}, ${bytes} octets`, async () => {
      const { device, readers } = peopleOn('P-256');
      const [reader] = readers;
      assert.ok(reader);
      const sent = contentOf(bytes);
      const format = { contentKeyBytes: keyBytes, keyWrapBytes: keyBytes };
      const envelope = sealForStock(device, [reader], sent, format);
      assert.deepEqual((await openStock(peer, envelope, reader.recipient)).content, sent);
    });
  }
}

test('seal: for BouncyCastle, another reader is refused, and so is a changed envelope', async () => {
  const { device, readers } = peopleOn('P-256');
  const [reader, other] = readers;
  assert.ok(reader && other);
  const envelope = sealForStock(device, [reader], content, {});
  await assert.rejects(openStock(peer, envelope, other.recipient), /not a recipient/);
  envelope.writeUInt8(envelope.readUInt8(envelope.length - 1) ^ 1, envelope.length - 1);
  await assert.rejects(openStock(peer, envelope, reader.recipient), BouncyCastleRefusal);
});

// What we write by default, read by a receiver that was written in Java after docs/wire.md.
for (const curve of curveNames) {
  for (const kdfHash of ['sha256', 'sha384', 'sha512'] as const) {
    for (const count of [1, 3]) {
      test(`seal: ours, signed, ${curve}, ${kdfHash}, ${count} recipients, opened in Java`, async () => {
        const { device, readers } = peopleOn(curve);
        const recipients = readers.slice(0, count);
        const sealer = createSealer(device.sealKeys, { format: { kdfHash } });
        const certificates = recipients.map(({ recipient }) => recipient.certificate);
        const { envelope } = sealer.seal(content, certificates, contextOf());
        for (const reader of recipients) {
          const opened = await openStrictly(peer, envelope, reader.recipient, device);
          const { topic, sequence } = contextOf();
          assert.deepEqual(opened, { content, topic, sequence: `${sequence}` });
        }
      });
    }
  }
}

for (const [contentKeyBytes, keyWrapBytes] of [
  [16, 16],
  [16, 32],
  [24, 24],
] as const) {
  for (const bytes of [0, 1, 999, 1000, 1001, 100_000]) {
    test(`seal: ours, signed, AES-${8 * contentKeyBytes} under AES-${8 * keyWrapBytes}, ${bytes} octets, opened in Java`, async () => {
      const { device, readers } = peopleOn('P-256');
      const [reader] = readers;
      assert.ok(reader);
      const format = { contentKeyBytes, keyWrapBytes };
      // The even ones compress, the odd ones do not.
      const sent = bytes % 2 === 0 ? Buffer.alloc(bytes, 'plombe ') : contentOf(bytes);
      const sealer = createSealer(device.sealKeys, { format });
      const previousDigest = contentOf(32);
      const { envelope } = sealer.seal(
        sent,
        [reader.recipient.certificate],
        contextOf({ previousDigest, embedChain: [] }),
      );
      const opened = await openStrictly(peer, envelope, reader.recipient, device);
      assert.deepEqual(opened.content, sent);
    });
  }
}

test('seal: ours, recipients on every curve in one envelope, opened in Java', async () => {
  const all = curveNames.map(peopleOn);
  const [first] = all;
  assert.ok(first);
  const { signatureKey } = first.device;
  const keyAgreement = all.map(({ device }) => device.recipient);
  const recipients = all.flatMap(({ readers }) => readers.map(({ recipient }) => recipient.certificate));
  const { envelope } = createSealer({ signature: signatureKey, keyAgreement }).seal(
    content,
    recipients,
    contextOf(),
  );
  for (const { device, readers } of all) {
    for (const reader of readers) {
      const originator = { signatureKey, recipient: device.recipient };
      const opened = await openStrictly(peer, envelope, reader.recipient, originator);
      assert.deepEqual(opened.content, content);
    }
  }
});

test('seal: BouncyCastle verifies our signature, and no other', async () => {
  for (const curve of curveNames) {
    const { device, readers } = peopleOn(curve);
    const certificates = readers.map(({ recipient }) => recipient.certificate);
    const { envelope } = createSealer(device.sealKeys).seal(content, certificates, contextOf());
    const signer = device.signatureKey.certificate.der;
    const verified = await peer.ask('verify', { envelope, signer });
    assert.deepEqual(verified.octets('content'), readEnvelope(envelope).encoded);
    const [other] = readers;
    assert.ok(other);
    await assert.rejects(
      peer.ask('verify', { envelope, signer: other.signatureKey.certificate.der }),
      BouncyCastleRefusal,
    );
  }
});

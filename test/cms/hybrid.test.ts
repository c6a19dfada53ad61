import assert from 'node:assert/strict';
import { createHash, decapsulate, encapsulate, generateKeyPairSync, randomBytes } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { recipientsMax } from '../../domain/limits.ts';
import { keyWrapIdentifiers } from '../../cms/algorithms.ts';
import { agreementKey, createMqvRecipient } from '../../cms/ecmqv.ts';
import { readEnvelope } from '../../cms/envelope.ts';
import { hybridKek } from '../../cms/hybrid.ts';
import type { HybridRecipient } from '../../cms/hybrid.ts';
import { readHybridRecipient } from '../../cms/hybrid-recipient-info.ts';
import type { HybridRecipientInfo } from '../../cms/hybrid-recipient-info.ts';
import { derExplicit, derOid } from '../../cms/der-writer.ts';
import { inspect } from '../../cms/inspect.ts';
import { unwrapKey } from '../../cms/key-wrap.ts';
import { oids } from '../../cms/oid.ts';
import { createOpener } from '../../cms/open.ts';
import type { RecipientKey } from '../../cms/recipient.ts';
import { originatorsOf } from '../../cms/originator.ts';
import { createSealer } from '../../cms/seal.ts';
import type { Recipient } from '../../cms/seal.ts';
import type { SealFormat } from '../../cms/seal-format.ts';
import { DerReader } from '../../pki/der.ts';
import type { DerElement } from '../../pki/der.ts';
import { derBitString, derElement, derInteger, derOctetString, derSequence } from '../../pki/der-writer.ts';
import { curveNames } from '../../pki/certificate.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import { replaced } from './attacker.ts';
import { authority, contextOf, makeIdentity, makeKem } from './identities.ts';

const commonName = 'vendor-snapshot-service';
const device = makeIdentity('ms-acc-1/acc-1/dev-1');
const auditor = makeIdentity('ms-acc-1');
const backend = makeIdentity(commonName);
const kem = makeKem(commonName);
const both: RecipientKey = { ...backend.recipient, kem };
const hybrid: HybridRecipient = { keyAgreement: backend.recipient.certificate, kem: kem.certificate };
const content = Buffer.from('fuel.temperature 21.5 Cel');
const { keyAgreement } = device.sealKeys;

/** Bare, so that no signature is what refuses a forgery. */
function seal(recipients: readonly Recipient[], format: SealFormat = {}): Buffer {
  return createSealer({ keyAgreement }, { format }).seal(content, recipients, contextOf()).envelope;
}

function openWith(recipient: RecipientKey, envelope: Uint8Array): Buffer {
  const originators = originatorsOf([device.originator]);
  return createOpener({ recipient, originators, policy: { allowUnsigned: true } }).open(envelope).content;
}

function hybridOf(envelope: Uint8Array): HybridRecipientInfo {
  const [info] = readEnvelope(envelope).authEnveloped.hybrids;
  assert.ok(info);
  return info;
}

const bare = seal([hybrid]);

for (const curve of curveNames) {
  test(`seal: a recipient with an ML-KEM key opens with both keys, ${curve}`, () => {
    const sender = makeIdentity('ms-acc-1/acc-1/dev-1', curve);
    const reader = makeIdentity(commonName, curve);
    const other = makeIdentity('ms-acc-1', curve);
    const recipients = [
      { ...hybrid, keyAgreement: reader.recipient.certificate },
      other.recipient.certificate,
    ];
    const { envelope } = createSealer(sender.sealKeys).seal(content, recipients, contextOf());
    const originators = originatorsOf([sender.originator]);
    for (const recipient of [{ ...reader.recipient, kem }, other.recipient]) {
      const opened = createOpener({ recipient, originators }).open(envelope);
      assert.deepEqual(opened.content, content);
      assert.equal(opened.signers.length, 1);
      assert.deepEqual(
        new Set(
          opened.recipients.map((one) => one.kind === 'keyIdentifier' && one.keyIdentifier.toString('hex')),
        ),
        new Set(
          [reader, other].map((one) => one.recipient.certificate.subjectKeyIdentifier?.toString('hex')),
        ),
      );
    }
    const classical = createOpener({ recipient: reader.recipient, originators });
    assert.throws(() => classical.open(envelope), { code: 'cms.not_a_recipient' });
  });
}

test('seal: hybrid and other recipients in any mix and format, and nobody else opens', () => {
  const readers = Array.from({ length: 4 }, (_, index) => {
    const reader = makeIdentity(`reader-${index}`);
    return { classical: reader.recipient, both: { ...reader.recipient, kem: makeKem(`reader-${index}`) } };
  });
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('classical', 'both', 'none'), { minLength: 4, maxLength: 4 }),
      fc.record({
        originator: fc.constantFrom('keyIdentifier', 'issuerAndSerial', 'publicKey'),
        recipient: fc.constantFrom('keyIdentifier', 'issuerAndSerial'),
        contentKeyBytes: fc.constantFrom(16, 24, 32),
      }),
      (kinds, format) => {
        const recipients = readers.flatMap((reader, index): Recipient[] => {
          const pair = { keyAgreement: reader.both.certificate, kem: reader.both.kem.certificate };
          if (kinds[index] === 'none') return [];
          return [kinds[index] === 'both' ? pair : reader.classical.certificate];
        });
        if (recipients.length === 0) return;
        const envelope = seal(recipients, format);
        readers.forEach((reader, index) => {
          if (kinds[index] === 'none') {
            assert.throws(() => openWith(reader.both, envelope), { code: 'cms.not_a_recipient' });
            return;
          }
          assert.deepEqual(openWith(reader.both, envelope), content);
          if (kinds[index] === 'classical') return;
          assert.throws(() => openWith(reader.classical, envelope), { code: 'cms.not_a_recipient' });
        });
      },
    ),
    { numRuns: 25 },
  );
});

test('seal: a hundred hybrid recipients fit into what a broker carries', () => {
  const recipients = Array.from({ length: recipientsMax }, (_, index) => ({
    keyAgreement: makeIdentity(`reader-${index}`).recipient.certificate,
    kem: makeKem(`reader-${index}`).certificate,
  }));
  assert.equal(inspect(seal(recipients)).agreements.length, recipientsMax);
});

test('seal: a recipient with an ML-KEM key has no entry that ECMQV alone opens', () => {
  const { authEnveloped } = readEnvelope(bare);
  assert.deepEqual(authEnveloped.keyAgreements, []);
  assert.equal(authEnveloped.hybrids.length, 1);
  const twice: readonly (readonly Recipient[])[] = [
    [hybrid, hybrid.keyAgreement],
    [hybrid, { ...hybrid, kem: makeKem(commonName).certificate }],
    [hybrid, { ...hybrid, keyAgreement: makeIdentity(commonName).recipient.certificate }],
  ];
  for (const recipients of twice) assert.throws(() => seal(recipients), { code: 'cms.unsupported' });
  assert.equal(inspect(seal([hybrid, { ...hybrid }])).agreements.length, 1);
});

test('open: neither secret alone unwraps the content key', () => {
  const info = hybridOf(bare);
  const mqv = createMqvRecipient(agreementKey(hybrid.keyAgreement), backend.recipient.key);
  const agreed = mqv.agree(agreementKey(device.originator.keyAgreement), info.ephemeral.point);
  const encapsulated = decapsulate(kem.key, info.ciphertext);
  const opens = (kemSecret: Buffer, z: Buffer, otherInfo = info.otherInfo) =>
    unwrapKey(hybridKek(kemSecret, z, otherInfo, 32), info.wrapped, 32) !== undefined;
  assert.ok(opens(encapsulated, agreed));
  const unknown = randomBytes(32);
  assert.ok(!opens(encapsulated, unknown));
  assert.ok(!opens(unknown, agreed));
  assert.ok(!opens(agreed, encapsulated));
  for (const other of [Buffer.alloc(0), Buffer.concat([info.otherInfo, Buffer.of(0)])]) {
    assert.ok(!opens(encapsulated, agreed, other));
  }
  // What a reader with a wrong key of either kind sees, who has taken the other's name.
  const otherKem = { key: makeKem(commonName).key, certificate: kem.certificate };
  assert.notDeepEqual(decapsulate(otherKem.key, info.ciphertext), encapsulated);
});

test('hybridKek: the combination is what docs/wire.md says', () => {
  // HKDF (RFC 5869 §2) by its definition, one block: T(1) = HMAC(HMAC(0…0, IKM), info ‖ 1).
  const [one, two, info] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.from('info')];
  const hmac = (key: Buffer, data: Buffer) => {
    const block = Buffer.concat([key, Buffer.alloc(64 - key.length)]);
    const inner = createHash('sha256').update(block.map((octet) => octet ^ 0x36));
    const outer = createHash('sha256').update(block.map((octet) => octet ^ 0x5c));
    return outer.update(inner.update(data).digest()).digest();
  };
  const extracted = hmac(Buffer.alloc(32), Buffer.concat([one, two]));
  assert.deepEqual(hybridKek(one, two, info, 32), hmac(extracted, Buffer.concat([info, Buffer.of(1)])));
});

test('open: no octet of what is for a hybrid recipient can be changed', () => {
  const info = hybridOf(bare);
  const start = bare.indexOf(info.ciphertext) - 64;
  const end = bare.indexOf(info.wrapped) + info.wrapped.length;
  for (let at = start; at < end; at += at < start + 1100 ? 13 : 1) {
    const changed = Buffer.from(bare);
    changed.writeUInt8(changed.readUInt8(at) ^ (1 << (at % 8)), at);
    assert.throws(
      () => openWith(both, changed),
      ({ code }: { code: string }) =>
        /^cms\.(malformed|rejected|not_a_recipient|unsupported|untrusted_originator)$/.test(code),
      `octet ${at}`,
    );
  }
});

test('open: a ciphertext for the same key that is not the sealed one, with its digest put right, is rejected', () => {
  const info = hybridOf(bare);
  const { ciphertext } = encapsulate(kem.certificate.publicKey);
  const swapped = replaced(bare, info.ciphertext, ciphertext);
  assert.throws(() => openWith(both, swapped), { code: 'cms.malformed' });
  const digest = (octets: Buffer) => createHash('sha256').update(octets).digest();
  const fitted = replaced(swapped, digest(info.ciphertext), digest(ciphertext));
  assert.throws(() => openWith(both, fitted), { code: 'cms.rejected' });
});

test('open: a ciphertext of another length, key derivation or algorithm is refused before any key is used', () => {
  const info = hybridOf(bare);
  const hkdfWithSha384 = Buffer.from(oids.hkdfWithSha256);
  hkdfWithSha384.writeUInt8(
    hkdfWithSha384.readUInt8(hkdfWithSha384.length - 1) + 1,
    hkdfWithSha384.length - 1,
  );
  assert.throws(() => openWith(both, replaced(bare, oids.hkdfWithSha256, hkdfWithSha384)), {
    code: 'cms.malformed',
  });
  // One octet goes from the ciphertext into the digest after it, so that every outer length stays.
  const shorter = Buffer.from(bare);
  const lengthAt = bare.indexOf(info.ciphertext) - 2;
  shorter.writeUInt16BE(info.ciphertext.length - 1, lengthAt);
  assert.throws(() => openWith(both, shorter), { code: 'cms.malformed' });
  const otherKem = Buffer.from(oids.hybridMlKem768);
  otherKem.writeUInt8(otherKem.readUInt8(5) ^ 1, 5);
  const unknown = replaced(bare, oids.hybridMlKem768, otherKem);
  assert.throws(() => openWith(both, unknown), { code: 'cms.not_a_recipient' });
  assert.deepEqual([inspect(unknown).agreements, inspect(unknown).otherRecipients], [[], 1]);
  const wrap192 = keyWrapIdentifiers[24];
  assert.throws(() => openWith(both, replaced(bare, keyWrapIdentifiers[32], wrap192)), {
    code: 'cms.unsupported',
  });
});

test('readHybridRecipient: takes what a sender writes, and nothing that is a little different', () => {
  assert.ok(readHybridRecipient(handmade({})));
  for (const other of [
    { type: oids.data },
    { value: Buffer.of(0x05, 0) },
    { kem: derOid(oids.kemRecipient) },
  ]) {
    assert.equal(readHybridRecipient(handmade(other)), undefined);
  }
  const ephemeral = derSequence(derSequence(derOid(oids.ecPublicKey)), derBitString(Buffer.alloc(65, 4)));
  for (const [fault, wrong] of [
    ['version', { version: 1 }],
    ['trailing bytes', { after: derInteger(0) }],
    ['of 1087 octets', { ciphertext: Buffer.alloc(1087) }],
    ['of 1089 octets', { ciphertext: Buffer.alloc(1089) }],
    ['not HKDF', { kdf: oids.sha256 }],
    ['of another ciphertext', { digest: Buffer.alloc(32) }],
    [
      'more material than is used',
      { mqv: derSequence(ephemeral, derExplicit(0, derOctetString(Buffer.alloc(4)))) },
    ],
    [
      'octets',
      {
        mqv: derSequence(
          derSequence(derSequence(derOid(oids.ecPublicKey)), derBitString(Buffer.alloc(1000))),
        ),
      },
    ],
    ['trailing bytes', { mqv: Buffer.concat([derSequence(ephemeral), derInteger(0)]) }],
    ['expected tag', { mqv: derInteger(0) }],
  ] as const satisfies readonly (readonly [string, Handmade])[]) {
    assert.throws(() => readHybridRecipient(handmade(wrong)), { message: new RegExp(fault) }, fault);
  }
});

test('open: whoever is addressed with and without ML-KEM refuses', () => {
  const classical = readEnvelope(seal([hybrid.keyAgreement])).authEnveloped;
  assert.equal(classical.keyAgreements.length, 1);
  const two = bothKindsFor(seal([hybrid, auditor.recipient.certificate]));
  assert.throws(() => openWith(both, two), { code: 'cms.malformed' });
});

test('open: a reader whose ML-KEM key is another one is not a recipient', () => {
  const renewed = { ...backend.recipient, kem: makeKem(commonName) };
  assert.throws(() => openWith(renewed, bare), { code: 'cms.not_a_recipient' });
  const otherEnc = { ...makeIdentity(commonName).recipient, kem };
  assert.throws(() => openWith(otherEnc, bare), { code: 'cms.not_a_recipient' });
});

test('createOpener, seal: refuse keys and certificates that are not for ML-KEM-768, or somebody else’s', () => {
  const originators = originatorsOf([device.originator]);
  const small = rogueCertificate({
    issuer: authority,
    commonName,
    keyUsage: ['keyEncipherment'],
    keyPair: generateKeyPairSync('ml-kem-512'),
  });
  const misused = rogueCertificate({
    issuer: authority,
    commonName,
    keyUsage: ['keyAgreement'],
    keyPair: generateKeyPairSync('ml-kem-768'),
  });
  for (const wrong of [small, misused, backend.recipient, makeKem('somebody')]) {
    assert.throws(() => createOpener({ recipient: { ...backend.recipient, kem: wrong }, originators }), {
      code: 'cms.unsupported',
    });
    assert.throws(() => seal([{ ...hybrid, kem: wrong.certificate }]), { code: 'cms.unsupported' });
  }
  const otherKey = { ...kem, key: makeKem(commonName).key };
  assert.throws(() => createOpener({ recipient: { ...backend.recipient, kem: otherKey }, originators }), {
    code: 'cms.unsupported',
  });
});

test('seal: names too long for the key derivation are refused, not written', () => {
  const subjectDer = derSequence(
    ...Array.from({ length: 12 }, (_, index) =>
      derElement(
        0x31,
        derSequence(Buffer.from('060355040b', 'hex'), derElement(0x0c, Buffer.alloc(60, 65 + index))),
      ),
    ),
  );
  const wordy = rogueCertificate({ commonName: 'root', subjectDer, ca: {} });
  const reader = makeIdentity(commonName, 'P-256', wordy).recipient.certificate;
  assert.throws(() => seal([{ ...hybrid, keyAgreement: reader }], { recipient: 'issuerAndSerial' }), {
    code: 'cms.unsupported',
  });
});

test('inspect: shows both certificates of a hybrid recipient', () => {
  const [agreement] = inspect(bare).agreements;
  const named = ({ subjectKeyIdentifier }: RecipientKey['certificate']) => ({
    kind: 'keyIdentifier',
    keyIdentifier: subjectKeyIdentifier,
  });
  assert.deepEqual(agreement, {
    originator: named(keyAgreement.certificate),
    keyAgreement: 'hybridMlKem768',
    keyWrap: 'aes256Wrap',
    recipients: [named(hybrid.keyAgreement)],
    kemRecipient: named(hybrid.kem),
  });
});

/** Names the auditor's entry after the backend's ENC key, which then has one with ML-KEM and one without. */
function bothKindsFor(envelope: Buffer): Buffer {
  const [from, to] = [auditor.recipient.certificate, hybrid.keyAgreement].map(
    ({ subjectKeyIdentifier }) => subjectKeyIdentifier,
  );
  assert.ok(from && to);
  return replaced(envelope, from, to);
}

interface Handmade {
  readonly type?: Buffer;
  readonly value?: Buffer;
  readonly version?: number;
  readonly kem?: Buffer;
  readonly ciphertext?: Buffer;
  readonly kdf?: Buffer;
  readonly digest?: Buffer;
  readonly mqv?: Buffer;
  readonly after?: Buffer;
}

/** An OtherRecipientInfo, spelled out as docs/wire.md has it. */
function handmade({ ciphertext = Buffer.alloc(1088, 7), version = 0, ...changes }: Handmade): DerElement {
  const name = Buffer.alloc(20, 1);
  const ephemeral = derSequence(derSequence(derOid(oids.ecPublicKey)), derBitString(Buffer.alloc(65, 4)));
  const digest = changes.digest ?? createHash('sha256').update(ciphertext).digest();
  const material = derSequence(
    derExplicit(0, derElement(0x80, name)),
    derExplicit(0, derOctetString(name)),
    derOctetString(digest),
    changes.mqv ?? derSequence(ephemeral),
  );
  const info = derSequence(
    derInteger(version),
    derElement(0x80, name),
    derSequence(changes.kem ?? derOid(oids.hybridMlKem768)),
    derOctetString(ciphertext),
    derSequence(derOid(changes.kdf ?? oids.hkdfWithSha256)),
    derInteger(32),
    derExplicit(0, derOctetString(material)),
    keyWrapIdentifiers[32],
    derOctetString(Buffer.alloc(40)),
    changes.after ?? Buffer.alloc(0),
  );
  const whole = derElement(0xa4, derOid(changes.type ?? oids.kemRecipient), changes.value ?? info);
  return new DerReader(whole).next();
}

/** Project Wycheproof's vectors, all of every set there is for an algorithm of ours, through the functions that we call. */
import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, decapsulate, hash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { keyWrapIdentifiers, readContentAlgorithm } from '../../cms/algorithms.ts';
import { derOid } from '../../cms/der-writer.ts';
import { agree, decodePoint, encodePoint, privateKeyOf, publicKeyOf, writeScalar } from '../../cms/ecdh.ts';
import { agreementKey, createMqvRecipient } from '../../cms/ecmqv.ts';
import { CmsError } from '../../cms/errors.ts';
import { decrypt, encrypt, nonceBytes } from '../../cms/gcm.ts';
import {
  otherRecipientTag,
  readHybridRecipient,
  writeHybridRecipient,
} from '../../cms/hybrid-recipient-info.ts';
import { writeIdentifier } from '../../cms/identifier.ts';
import { unwrapKey, wrapKey } from '../../cms/key-wrap.ts';
import { oids } from '../../cms/oid.ts';
import { requireCurve } from '../../cms/originator.ts';
import { readMqvMaterial, writeRecipient } from '../../cms/recipient-info.ts';
import { isSignedBy } from '../../cms/signer-info.ts';
import { suiteOf } from '../../cms/suite.ts';
import type { Suite } from '../../cms/suite.ts';
import type { CurveName } from '../../pki/certificate.ts';
import { derElement, derInteger, derOctetString, derSequence } from '../../pki/der-writer.ts';
import { DerFault, derTag, readOnly } from '../../pki/der.ts';
import { rogueCertificate } from '../pki/rogue-authority.ts';
import { dataFolder } from './fixtures.ts';
import { authority, makeIdentity } from './identities.ts';

interface Case {
  readonly tcId: number;
  readonly result: 'valid' | 'invalid' | 'acceptable';
  readonly flags: readonly string[];
  readonly [field: string]: string | number | readonly string[] | undefined;
}
interface Group {
  readonly publicKeyDer?: string;
  readonly tests: readonly Case[];
}
interface VectorFile {
  readonly numberOfTests: number;
  readonly testGroups: readonly Group[];
}

const folder = path.join(dataFolder, 'wycheproof');

function octets(value: Case[string]): Buffer {
  assert.ok(typeof value === 'string');
  return Buffer.from(value, 'hex');
}

/** What was run of a file: how many cases were computed, how many refused, and why. */
class Tally {
  computed = 0;
  readonly refused = new Map<string, number>();

  refuse(why: string): void {
    this.refused.set(why, (this.refused.get(why) ?? 0) + 1);
  }

  get total(): number {
    return this.computed + [...this.refused.values()].reduce((sum, count) => sum + count, 0);
  }
}

/** Vectors for what no part of the format uses. */
const notOurs: Readonly<Record<string, string>> = {
  'aes_cmac_test.json': 'AES-CMAC occurs nowhere in an envelope',
};
const mlKem768 = Buffer.from('608648016503040402', 'hex'); // RFC 9935 §3
const ran = new Set<string>();

/**
 * One test for a file: every case is run, and the numbers are those written here, so that a set that shrinks is noticed.
 *
 * @param run - computes, or tells why it is refused
 */
function vectors(
  file: string,
  expected: { readonly computed: number; readonly refused: Readonly<Record<string, number>> },
  run: (vector: Case, group: Group, tally: Tally) => void,
): void {
  const refused = Object.entries(expected.refused).map(([why, count]) => `${count} refused (${why})`);
  test(`Wycheproof: ${file}, ${expected.computed} computed, ${refused.join(', ')}`, () => {
    const { numberOfTests, testGroups } = JSON.parse(
      readFileSync(path.join(folder, file), 'utf8'),
    ) as VectorFile;
    const tally = new Tally();
    for (const group of testGroups) {
      for (const vector of group.tests) run(vector, group, tally);
    }
    assert.equal(tally.total, numberOfTests);
    assert.deepEqual({ computed: tally.computed, refused: Object.fromEntries(tally.refused) }, expected);
  });
  ran.add(file);
}

vectors(
  'aes_wrap_test.json',
  {
    computed: 33,
    refused: { 'the wrapped key is not as long as a key of AES': 57, ModifiedIv: 72, InvalidWrappingSize: 3 },
  },
  (vector, _group, tally) => {
    const label = `case ${vector.tcId}`;
    const [key, message, wrapped] = [octets(vector['key']), octets(vector['msg']), octets(vector['ct'])];
    // The content key is as long as the content algorithm says, and these are all that there are.
    const unwrapped = [16, 24, 32].flatMap((bytes) => unwrapKey(key, wrapped, bytes) ?? []);
    if (unwrapped.length === 0 && ![16, 24, 32].includes(message.length)) {
      tally.refuse('the wrapped key is not as long as a key of AES');
    } else if (vector.result === 'valid') {
      assert.deepEqual(unwrapped, [message], label);
      assert.deepEqual(wrapKey(key, message), wrapped, label);
      tally.computed++;
    } else {
      assert.deepEqual(unwrapped, [], label);
      tally.refuse(vector.flags.join());
    }
  },
);

vectors(
  'aes_gcm_test.json',
  { computed: 116, refused: { 'a nonce of other than 12 octets': 119, ModifiedTag: 81 } },
  (vector, _group, tally) => {
    const label = `case ${vector.tcId}`;
    const [key, nonce, associated] = [octets(vector['key']), octets(vector['iv']), octets(vector['aad'])];
    const algorithm = gcmAlgorithm(key.length, nonce);
    if (nonce.length !== nonceBytes) {
      assert.throws(() => readContentAlgorithm(algorithm), { code: 'cms.rejected' }, label);
      tally.refuse('a nonce of other than 12 octets');
      return;
    }
    assert.deepEqual(readContentAlgorithm(algorithm).nonce, nonce);
    const sealed = { ciphertext: octets(vector['ct']), tag: octets(vector['tag']) };
    const opened = decrypt(key, nonce, sealed, associated);
    if (vector.result === 'valid') {
      assert.deepEqual(opened, octets(vector['msg']), label);
      assert.deepEqual(encrypt(key, nonce, octets(vector['msg']), associated), sealed, label);
      tally.computed++;
    } else {
      assert.equal(opened, undefined, label);
      tally.refuse(vector.flags.join());
    }
  },
);

function gcmAlgorithm(keyBytes: number, nonce: Buffer) {
  const oid = new Map([
    [16, oids.aes128Gcm],
    [24, oids.aes192Gcm],
    [32, oids.aes256Gcm],
  ]).get(keyBytes);
  assert.ok(oid);
  const parameters = derSequence(derOctetString(nonce), derInteger(16));
  return readOnly(derSequence(derOid(oid), parameters), derTag.sequence, 'algorithm');
}

function exchange(suite: Suite, point: Uint8Array, vector: Case): Buffer {
  const peer = encodePoint(suite, decodePoint(suite, point));
  const scalar = writeScalar(suite, BigInt(`0x${String(vector['private'])}`));
  return agree(privateKeyOf(suite, scalar), publicKeyOf(suite, peer));
}

function point(curve: CurveName, file: string, computed: number, refused: Readonly<Record<string, number>>) {
  const suite = suiteOf(curve);
  const { recipient } = makeIdentity('vendor-snapshot-service', curve);
  const own = agreementKey(recipient.certificate);
  const mqv = createMqvRecipient(own, recipient.key);
  vectors(file, { computed, refused }, (vector, _group, tally) => {
    const label = `case ${vector.tcId}`;
    if (vector.result === 'invalid') {
      // ECMQV has a check of points of its own.
      assert.throws(() => mqv.agree(own, octets(vector['public'])), { code: 'cms.rejected' }, label);
      assert.throws(() => exchange(suite, octets(vector['public']), vector), { code: 'cms.rejected' }, label);
      tally.refuse('cms.rejected');
    } else {
      assert.deepEqual(exchange(suite, octets(vector['public']), vector), octets(vector['shared']), label);
      tally.computed++;
    }
  });
}
point('P-256', 'ecdh_secp256r1_ecpoint_test.json', 331, { 'cms.rejected': 24 });
point('P-384', 'ecdh_secp384r1_ecpoint_test.json', 772, { 'cms.rejected': 18 });
point('P-521', 'ecdh_secp521r1_ecpoint_test.json', 633, { 'cms.rejected': 28 });

/**
 * A SubjectPublicKeyInfo is just what RFC 5753 has as the ephemeral key, so it is read as one. Of what Wycheproof calls
 * acceptable we take three cases: the compressed point, absent parameters, and NULL in their place (docs/wire.md).
 */
function keyInfo(
  curve: CurveName,
  file: string,
  computed: number,
  refused: Readonly<Record<string, number>>,
) {
  const suite = suiteOf(curve);
  vectors(file, { computed, refused }, (vector, _group, tally) => {
    const label = `case ${vector.tcId}: ${String(vector['comment'])}`;
    const read = () => {
      const { ephemeral } = readMqvMaterial(derSequence(octets(vector['public'])));
      requireCurve(ephemeral, suite);
      return exchange(suite, ephemeral.point, vector);
    };
    try {
      const shared = read();
      assert.notEqual(vector.result, 'invalid', label);
      assert.deepEqual(shared, octets(vector['shared']), label);
      tally.computed++;
    } catch (error) {
      assert.notEqual(vector.result, 'valid', label);
      const code = error instanceof DerFault ? 'not DER' : error instanceof CmsError ? error.code : undefined;
      assert.ok(code === 'not DER' || code === 'cms.rejected', `${label}: ${String(error)}`);
      tally.refuse(`${vector.result}: ${code}`);
    }
  });
}
keyInfo('P-256', 'ecdh_secp256r1_test.json', 333, {
  'acceptable: cms.rejected': 24,
  'acceptable: not DER': 203,
  'invalid: cms.rejected': 45,
  'invalid: not DER': 7,
});
keyInfo('brainpoolP256r1', 'ecdh_brainpoolP256r1_test.json', 520, {
  'acceptable: cms.rejected': 24,
  'acceptable: not DER': 203,
  'invalid: cms.rejected': 50,
  'invalid: not DER': 7,
});

function signatures(
  curve: CurveName,
  file: string,
  computed: number,
  refused: Readonly<Record<string, number>>,
) {
  const { hash: hashName, hashOid } = suiteOf(curve);
  const content = Buffer.from('an AuthEnvelopedData');
  const certificates = new Map<Group, ReturnType<typeof rogueCertificate>['certificate']>();
  vectors(file, { computed, refused }, (vector, group, tally) => {
    const certificate = certificates.get(group) ?? certificateOf(group);
    certificates.set(group, certificate);
    assert.equal(certificate.curve, curve);
    const signer = {
      identifier: { kind: 'keyIdentifier', keyIdentifier: Buffer.alloc(20) },
      hash: hashName,
      hashOid,
      // What is signed is the attributes, and whatever octets they are, isSignedBy hands them on.
      attributes: { der: octets(vector['msg']), values: new Map() },
      messageDigest: hash(hashName, content, 'buffer'),
      signingTimeMs: undefined,
      signature: octets(vector['sig']),
      der: Buffer.alloc(0),
    } as const;
    const isValid = isSignedBy(content, signer, certificate);
    assert.equal(isValid, vector.result === 'valid', `case ${vector.tcId}: ${String(vector['comment'])}`);
    if (isValid) tally.computed++;
    else tally.refuse('invalid');
  });
}
signatures('P-256', 'ecdsa_secp256r1_sha256_test.json', 174, { invalid: 310 });
signatures('P-384', 'ecdsa_secp384r1_sha384_test.json', 194, { invalid: 310 });
signatures('P-521', 'ecdsa_secp521r1_sha512_test.json', 232, { invalid: 310 });

function certificateOf({ publicKeyDer }: Group) {
  assert.ok(publicKeyDer);
  const key = createPublicKey({
    key: Buffer.from(publicKeyDer, 'hex'),
    format: 'der',
    type: 'spki',
  });
  return rogueCertificate({ issuer: authority, keyPair: { publicKey: key, privateKey: authority.key } })
    .certificate;
}

vectors(
  'mlkem_768_test.json',
  { computed: 153, refused: { 'a private key of another length': 20, 'a ciphertext of another length': 20 } },
  (vector, _group, tally) => {
    const label = `case ${vector.tcId}: ${String(vector['comment'])}`;
    const [seed, ciphertext] = [octets(vector['seed']), octets(vector['c'])];
    if (seed.length !== 64) {
      assert.throws(() => kemKeyOf(seed), label);
      tally.refuse('a private key of another length');
      return;
    }
    const key = kemKeyOf(seed);
    const encoded = createPublicKey(key).export({ type: 'spki', format: 'der' });
    assert.deepEqual(encoded.subarray(-octets(vector['ek']).length), octets(vector['ek']), label);
    if (vector.result === 'valid') {
      assert.deepEqual(readKemCiphertext(ciphertext), ciphertext, label);
      assert.deepEqual(decapsulate(key, ciphertext), octets(vector['K']), label);
      tally.computed++;
    } else {
      assert.throws(() => readKemCiphertext(ciphertext), DerFault, label);
      tally.refuse('a ciphertext of another length');
    }
  },
);

/** PKCS #8 with the seed alone (RFC 9935 §6). */
function kemKeyOf(seed: Buffer): KeyObject {
  const algorithm = derSequence(derElement(derTag.objectIdentifier, mlKem768));
  const der = derSequence(derInteger(0), algorithm, derOctetString(derElement(0x80, seed)));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

/** As a reader comes by one. */
function readKemCiphertext(ciphertext: Buffer): Buffer | undefined {
  const name = writeIdentifier({ kind: 'keyIdentifier', keyIdentifier: Buffer.alloc(20, 1) });
  const written = writeHybridRecipient(
    {
      originator: name,
      recipient: writeRecipient({ kind: 'keyIdentifier', keyIdentifier: Buffer.alloc(20, 2) }),
      kemRecipient: name,
      ephemeralPoint: encodePoint(suiteOf('P-256'), suiteOf('P-256').Point.BASE.toAffine()),
      ciphertext,
      keyWrap: keyWrapIdentifiers[32],
      kekBytes: 32,
    },
    () => Buffer.alloc(40),
  );
  return readHybridRecipient(readOnly(written, otherRecipientTag, 'recipient'))?.ciphertext;
}

test('Wycheproof: every file is run, or is for something that we do not do', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  assert.deepEqual(files.toSorted(), [...ran, ...Object.keys(notOurs)].toSorted());
});
